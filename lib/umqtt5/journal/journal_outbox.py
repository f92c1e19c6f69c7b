"""An outbox whose journal is told what becomes of its messages. `journal` loads it."""

from micropython import const

from ..core.outbox import HEAD, RELEASED, RELEASING, SENT, Outbox
from ..core.topics import Topic
from ..core.wire import get_u16

# what the log has of the message in a slot
MESSAGE = const(1)
RELEASE = const(2)  # its PUBREL
FRESH = const(4)  # and not synced yet
BODY = const(5)  # of its record in front of the topic: length of topic 2, of properties 3
ELSEWHERE = const(0x3FFFFFFF)  # as in `stream`: the payload is not in the outbox


class Kept(Outbox):
    """`marks` is what the log has of the message in each slot."""

    _add = Outbox.add

    def __init__(self, journal, outbox, size, slots):
        if size > len(outbox.arena) or slots > len(outbox.states):
            outbox = Outbox(max(size, len(outbox.arena)), max(slots, len(outbox.states)))
        self._journal = journal
        self.arena = outbox.arena
        self.states = outbox.states
        self.first_bytes = outbox.first_bytes
        self.topics = outbox.topics
        self.bodies = outbox.bodies
        self.sizes = outbox.sizes
        self.properties = outbox.properties
        self.order = outbox.order
        self.head = self.count = self.end = self._passed = 0
        self._newest = len(self.states) - 1
        self.marks = bytearray(len(self.states))

    def restore(self, slot, first_byte, at, size, released, log):
        """Take a message out of the log; to be called in their order. Raises OSError, ValueError."""
        name = b"?"
        body = bytearray(BODY)
        if size:
            log.read(at, body, BODY)
            name = bytearray(get_u16(body, 0))
            log.read(at + BODY, name, len(name))
            size -= BODY + len(name)
        base = self.end + HEAD + len(name)
        self.topics[slot] = topic = Topic(name)
        topic.alias = -1  # gone after this message: it would waste an alias
        if at:
            log.read(at + BODY + len(name), memoryview(self.arena)[base : base + size], size)
        self.first_bytes[slot] = first_byte
        self.bodies[slot] = base
        self.sizes[slot] = size if at else ELSEWHERE
        self.properties[slot] = body[2] << 16 | get_u16(body, 3)
        self.states[slot] = RELEASED if released else SENT
        self.marks[slot] = RELEASE if released else MESSAGE
        self.order[self.count] = self._newest = slot
        self.end = base + size
        self.count += 1

    def add(self, topic, payload, first_byte, properties):
        topic = self._add(topic, payload, first_byte, properties)
        return self._kept(topic)

    def _kept(self, slot):
        if slot >= 0 and not self._journal.added(slot):
            self.marks[slot] = 0
            Outbox.drop(self, slot)
            return -1
        return slot

    def place(self, topic, payload, first_byte, properties):
        """`add` for a message whose payload is elsewhere: it does not outlive a reboot."""
        slot = self._add(topic, payload, first_byte, properties)
        if slot >= 0 and first_byte & 4 and not self._journal.placed(slot):
            self.marks[slot] = 0
            Outbox.drop(self, slot)
            return -1
        return slot

    def first(self, state):
        state = Outbox.first(self, state)
        if state >= 0 and self.marks[state] & FRESH and self.first_bytes[state] & 4:
            return -1  # it waits for the sync, and those behind it with it
        return state

    def drop(self, slot):
        refused = self.states[slot] == SENT and self.first_bytes[slot] & 4
        Outbox.drop(self, slot)
        if self.marks[slot]:
            self.marks[slot] = 0
            self._journal.dropped(slot, refused)

    def renew(self):
        """The broker has lost the session, and with it what it had not passed on at QoS 2, maybe.

        Such a message goes out once more. A streamed one ends instead: it may be gone.
        """
        for slot in range(len(self.states)):
            if self.sizes[slot] == ELSEWHERE:
                continue
            if self.states[slot] == RELEASED or self.states[slot] == RELEASING:
                self.states[slot] = SENT
                self.marks[slot] = MESSAGE

    def rewind(self, resumed):
        self._journal.began(resumed)
        Outbox.rewind(self, resumed)
