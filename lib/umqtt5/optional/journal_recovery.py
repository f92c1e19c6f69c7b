"""Journal recovery after a restart: reads the records of the log and restores the outbox, once.

A program that is short of heap may unload this module after it has created the `Journal`.
"""

from array import array

from ..core.outbox import MAX_HEADER, RELEASED, SENT
from ..core.topics import Topic
from ..core.wire import get_u16
from ..journal.journal_outbox import BODY_HEADER, MESSAGE, RELEASE, STREAMED, JournalOutbox


class JournalRecovery:
    """The content of a log, read from the first record to the last.

    `messages` maps a slot to (first byte, offset of the record's body, size of the body). `order` has the
    slots, oldest first. `released` has the slots whose PUBREL is due, `received_ids` the packet identifiers
    received at QoS 2. `client_id` is None if the log has no session.
    """

    def __init__(self, log):
        self.messages: dict = {}
        self.order: list = []
        self.released: list = []
        self.received_ids: list = []
        self.client_id = None
        for kind, number, at, size in log.records():
            if kind == 0x10:
                client_id = bytearray(size)
                log.read(at, client_id, size)
                self.client_id = bytes(client_id)
                self.start_session()
            elif kind == 0x50 or kind == 0x70:
                # records that `dump` wrote at the beginning of a file may already include this identifier
                self.received_ids = without(self.received_ids, number)
                if kind == 0x50:
                    self.received_ids.append(number)
            else:
                self._take_outgoing(kind, number, at, size)

    def _take_outgoing(self, kind, number, at, size):
        if kind == 0x62:
            self.released.append(number)
            if number not in self.order:  # a streamed message
                self.order.append(number)
        elif kind >> 4 == 3 or kind == 0x40:
            self.order = without(self.order, number)
            self.released = without(self.released, number)
            self.messages.pop(number, None)
            if kind != 0x40:
                self.order.append(number)
                self.messages[number] = kind, at, size

    def start_session(self):
        """Drop packet identifiers: in a new session, the stored messages are sent as new messages."""
        self.received_ids = []
        self.released = []
        self.order = [slot for slot in self.order if slot in self.messages]


def without(numbers, number):
    """Return the list without one number."""
    return [n for n in numbers if n != number]


def recover(journal):
    """Read the log of a journal and set its state.

    Returns the `JournalOutbox` of the journal, and an array of the packet identifiers of received QoS 2
    messages that the broker has not released yet.
    """
    session, log = journal._session, journal.record_log
    found = JournalRecovery(log)
    if found.client_id is not None and not session.client_id:
        session.client_id = found.client_id
    journal._has_session = found.client_id == session.client_id and not log.damaged_bytes
    if not journal._has_session:
        found.start_session()  # the log is of another session, or records may be missing
    received_ids = found.received_ids
    while len(session.received_ids) < len(received_ids):
        session.received_ids.append(0)
    while len(journal._received_ids) < len(session.received_ids):
        journal._received_ids.append(0)
    for i in range(len(received_ids)):
        session.received_ids[i] = journal._received_ids[i] = received_ids[i]
    return _restore_outbox(journal, found), array("H", received_ids)


def _restore_outbox(journal, found):
    """Return an outbox with the messages of the log. It is larger than configured if they need more room."""
    size = 0
    for slot in found.order:
        size += MAX_HEADER + 1 + (found.messages[slot][2] if slot in found.messages else 0)
    slots = max(found.order) + 1 if found.order else 0
    outbox = JournalOutbox(journal, journal._session.outbox, size, slots)
    for slot in found.order:
        kind, at, size = found.messages.get(slot, (0x34, 0, 0))
        try:
            _restore_message(outbox, slot, kind, at, size, slot in found.released, journal.record_log)
        except (OSError, ValueError) as error:
            journal.record_log.damaged_bytes += size
            journal.error = error
    return outbox


def _restore_message(outbox, slot, first_byte, at, size, released, log):
    """Append a message of the log to the outbox. Raises OSError, ValueError."""
    name = b"?"
    header = bytearray(BODY_HEADER)
    if size:
        log.read(at, header, BODY_HEADER)
        name = bytearray(get_u16(header, 0))
        log.read(at + BODY_HEADER, name, len(name))
        size -= BODY_HEADER + len(name)
    base = outbox.arena_end + MAX_HEADER + len(name)
    outbox.topics[slot] = topic = Topic(name)
    topic.alias = -1  # the topic is used once, so it gets no alias
    if at:
        log.read(at + BODY_HEADER + len(name), memoryview(outbox.arena)[base : base + size], size)
    outbox.first_bytes[slot] = first_byte
    outbox.body_offsets[slot] = base
    outbox.body_sizes[slot] = size if at else STREAMED
    outbox.property_sizes[slot] = header[2] << 16 | get_u16(header, 3)
    outbox.states[slot] = RELEASED if released else SENT
    outbox.record_flags[slot] = RELEASE if released else MESSAGE
    outbox.slot_order[outbox.count] = outbox._newest = slot
    outbox.arena_end = base + size
    outbox.count += 1
