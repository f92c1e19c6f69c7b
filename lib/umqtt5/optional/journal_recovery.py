"""Journal recovery after a restart: reads the records of the log and restores the outbox, once.

Records are data of unknown origin: a valid checksum does not mean that this library has written them. A
record that the journal would not write, or for which there is no room, is dropped and counted in
`damaged_bytes`. Then the client begins a new session, because client and broker may not agree on packet
identifiers any more.

A program that is short of heap may unload this module, `record_reader` and `record_search` after it has
created the `Journal`.
"""

from array import array

from ..core.outbox import MAX_HEADER, RELEASED, SENT
from ..core.packet import Packet
from ..core.topics import Topic
from ..core.wire import encode_text, get_u16
from ..journal.journal_outbox import BODY_HEADER, MESSAGE, RELEASE, STREAMED, JournalOutbox
from ..journal.record_log import RECORD_OVERHEAD

_MESSAGE_PROPERTIES = 0x40001F  # as `property_rules.MESSAGE`, which is not loaded for this
_RESPONSE_TOPIC = 0x08


class JournalRecovery:
    """The content of a log, read from the first record to the last.

    `messages` maps a slot to (first byte, offset of the record's body, size of the body). `order` has the
    slots, oldest first. `released` has the slots whose PUBREL is due, `received_ids` the packet identifiers
    received at QoS 2. `client_id_at` is the offset of the client identifier, 0 if the log has no session.
    At most `max_messages` messages and `max_ids` packet identifiers are accepted.
    """

    def __init__(self, log, max_messages, max_ids):
        self.log = log
        self.max_messages = max_messages
        self._max_ids = max_ids
        self.messages: dict = {}
        self.order: list = []
        self.released: list = []
        self.received_ids: list = []
        self.client_id_at = self.client_id_size = 0
        for kind, number, at, size in log.records():
            if not self._take(kind, number, at, size):
                log.damaged_bytes += size + RECORD_OVERHEAD

    def _take(self, kind, number, at, size):
        """Handle a record; return False if it is not valid."""
        if kind == 0x10:
            self.client_id_at = at
            self.client_id_size = size
            self.start_session()
            return size < 65536
        if size and kind >> 4 != 3:
            return False
        if kind == 0x50 or kind == 0x70:
            # records that `dump` wrote at the beginning of a file may already include this identifier
            self.received_ids = without(self.received_ids, number)
            if kind == 0x50:
                if not number or len(self.received_ids) == self._max_ids:
                    return False
                self.received_ids.append(number)
            return True
        return self._take_outgoing(kind, number, at, size)

    def _take_outgoing(self, kind, number, at, size):
        if number == 65535:
            return False  # the packet identifier would be 65536
        if kind == 0x62:
            if number in self.messages and not self.messages[number][0] & 4:
                return False  # a message of QoS 1 has no PUBREL
            self.released = without(self.released, number)
            if number not in self.order:  # a streamed message
                if len(self.order) == self.max_messages:
                    return False
                self.order.append(number)
            self.released.append(number)
            return True
        self.order = without(self.order, number)
        self.released = without(self.released, number)
        self.messages.pop(number, None)
        if kind == 0x40:
            return True
        if not 0x32 <= kind <= 0x35 or len(self.order) == self.max_messages:
            return False
        self.order.append(number)
        self.messages[number] = kind, at, size
        return True

    def check_messages(self, room):
        """Drop the messages that are not valid or do not fit in `room` bytes and `max_messages` slots."""
        used = count = 0
        for slot in self.order:
            _, at, size = self.messages.get(slot, (0, 0, 0))
            used += MAX_HEADER + 1 + size
            count += 1
            if used > room or count > self.max_messages or (at and not is_valid_message(self.log, at, size)):
                used -= MAX_HEADER + 1 + size
                count -= 1
                self.log.damaged_bytes += size + RECORD_OVERHEAD
                self.order = without(self.order, slot)
                self.released = without(self.released, slot)
                self.messages.pop(slot, None)

    def start_session(self):
        """Drop packet identifiers: in a new session, the stored messages are sent as new messages."""
        self.received_ids = []
        self.released = []
        self.order = [slot for slot in self.order if slot in self.messages]

    def has_valid_slots(self):
        """Return True if no slot exceeds the maximum number of messages."""
        return not self.order or max(self.order) < self.max_messages

    def renumber(self):
        """Give the messages the slots from 0 on."""
        self.messages = dict([(i, self.messages[self.order[i]]) for i in range(len(self.order))])
        self.order = list(range(len(self.order)))


def without(numbers, number):
    """Return the list without one number."""
    return [n for n in numbers if n != number]


def is_valid_message(log, at, size):
    """Return True if a record is a message that a broker accepts; its body has `size` bytes at `at`."""
    try:
        header = bytearray(BODY_HEADER)
        log.read(at, header, BODY_HEADER)
        n = get_u16(header, 0)
        properties = header[2] << 16 | get_u16(header, 3)
        if BODY_HEADER + n + properties > size:
            return False
        text = bytearray(n + properties)
        log.read(at + BODY_HEADER, text, n + properties)
        Topic(text[:n])
        packet = Packet(text)
        packet.properties_start = n
        packet.properties_end = n + properties
        if packet._check_properties(_MESSAGE_PROPERTIES):
            return False
        topic = packet.property(_RESPONSE_TOPIC)
        # [MQTT-3.3.2-14]
        return topic is None or not ("+" in topic or "#" in topic)  # type: ignore[operator]
    except (OSError, ValueError, MemoryError):
        return False


def recover(journal):
    """Read the log of a journal and set its state.

    Returns the `JournalOutbox` of the journal, and an array of the packet identifiers of received QoS 2
    messages that the broker has not released yet. At most 4 times as many messages as the outbox has slots
    (at least 64) are restored, and 4 times as many packet identifiers as the session has room for. The
    messages take at most half of the size of the log, or the size of the outbox if that is larger.
    """
    session, log = journal._session, journal.record_log
    outbox = session.outbox
    found = JournalRecovery(log, max(64, 4 * len(outbox.states)), 4 * len(session.received_ids))
    _check_session(journal, found, max(len(outbox.arena), log.size // 2))
    try:
        restored = _make_outbox(journal, found)
    except MemoryError:
        # not enough heap for a larger outbox: restore what fits into the configured one
        found.max_messages = len(outbox.states)
        _check_session(journal, found, len(outbox.arena))
        restored = _make_outbox(journal, found)
    for slot in found.order:
        kind, at, size = found.messages.get(slot, (0x34, 0, 0))
        try:
            _restore_message(restored, slot, kind, at, size, slot in found.released, log)
        except OSError as error:
            journal.error = error
            log.damaged_bytes += size
            journal._has_session = False
    if not journal._has_session:
        restored.start_session()
        found.start_session()
    if log.damaged_bytes:
        log.rewrite()
        journal.error = journal.error or ValueError("journal: %d damaged bytes" % log.damaged_bytes)
    received_ids = found.received_ids
    while len(session.received_ids) < len(received_ids):
        session.received_ids.append(0)
    while len(journal._received_ids) < len(session.received_ids):
        journal._received_ids.append(0)
    for i in range(len(received_ids)):
        session.received_ids[i] = journal._received_ids[i] = received_ids[i]
    return restored, array("H", received_ids)


def _check_session(journal, found, room):
    """Drop invalid messages, and decide whether the session of the log continues."""
    found.check_messages(room)
    has_session = _is_own_session(journal, found) and not found.log.damaged_bytes
    journal._has_session = has_session and found.has_valid_slots()
    if not journal._has_session:
        found.start_session()  # the log is of another session, or records may be missing
    if not found.has_valid_slots():
        found.renumber()
        found.log.rewrite()


def _is_own_session(journal, found):
    """Return True if the log has a session of this client. If the broker assigns the identifier, use it."""
    session = journal._session
    if not found.client_id_at:
        return False
    if found.client_id_size > (len(session.client_id) or len(session.framer.rx)):
        return False
    client_id = bytearray(found.client_id_size)
    try:
        found.log.read(found.client_id_at, client_id, len(client_id))
        session.client_id = session.client_id or encode_text(client_id)
    except (OSError, ValueError):
        return False
    return client_id == session.client_id


def _make_outbox(journal, found):
    """Return an empty outbox for the messages. It is larger than configured if they need more room."""
    size = 0
    for slot in found.order:
        size += MAX_HEADER + 1 + (found.messages[slot][2] if slot in found.messages else 0)
    slots = max(found.order) + 1 if found.order else 0
    return JournalOutbox(journal, journal._session.outbox, size, slots)


def _restore_message(outbox, slot, first_byte, at, size, released, log):
    """Append a valid message of the log to the outbox. Raises OSError."""
    name = b"?"
    header = bytearray(BODY_HEADER)
    if size:
        log.read(at, header, BODY_HEADER)
        name = bytearray(get_u16(header, 0))
        log.read(at + BODY_HEADER, name, len(name))
        size -= BODY_HEADER + len(name)
    base = outbox.arena_end + MAX_HEADER + len(name)
    if at:
        log.read(at + BODY_HEADER + len(name), memoryview(outbox.arena)[base : base + size], size)
    outbox.topics[slot] = topic = Topic(name)
    topic.alias = -1  # the topic is used once, so it gets no alias
    outbox.first_bytes[slot] = first_byte
    outbox.body_offsets[slot] = base
    outbox.body_sizes[slot] = size if at else STREAMED
    outbox.property_sizes[slot] = header[2] << 16 | get_u16(header, 3)
    outbox.states[slot] = RELEASED if released else SENT
    outbox.record_flags[slot] = RELEASE if released else MESSAGE
    outbox.slot_order[outbox.count] = outbox._newest = slot
    outbox.arena_end = base + size
    outbox.count += 1
