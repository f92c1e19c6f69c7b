"""What is accepted for QoS 1 and 2 and not yet acknowledged, in order, in a fixed arena.

A record is room for the longest head that its PUBLISH can have, then the user's properties
and payload. The head is written in front of them each time the record is sent, so that it
can go out by an alias now and with its full topic after a reconnect, in one write and
without a second copy of the payload.
"""

from array import array

from micropython import const

_DONE = const(0)
_QUEUED = const(1)
SENT = 2  # PUBLISH
RELEASING = 3  # PUBREC has come, PUBREL has to go out
RELEASED = 4  # PUBREL has gone out
ENDED = 5  # and the user has to be told
_HEAD = const(14)  # first byte 1, remaining length 4, topic length 2, packet id 2, properties 2 + 3


class Outbox:
    """`size` bytes for messages, `slots` for how many there may be at once.

    By slot: `ids`, `states`, and `first_bytes` of the PUBLISH, with DUP, QoS and RETAIN, where a
    message that has ENDED has its reason code.
    """

    def __init__(self, size, slots):
        self.arena = bytearray(size)
        self.ids = array("H", [0] * slots)
        self._starts = array("I", [0] * slots)
        self._sizes = array("I", [0] * slots)
        self._properties = array("I", [0] * slots)
        self.first_bytes = bytearray(slots)
        self.states = bytearray(slots)
        self._topics = [None] * slots
        self._first = 0  # slot of the oldest record
        self._head = 0  # offset in the arena behind the newest
        self._passed = 0  # how many, from the oldest on, were dealt with in this connection
        self.count = 0

    def _place(self, size):
        """The offset of `size` free bytes in one piece, -1 where there are none."""
        if not self.count:
            return 0 if size <= len(self.arena) else -1
        tail = self._starts[self._first]
        if self._head <= tail:
            return self._head if tail - self._head >= size else -1
        if len(self.arena) - self._head >= size:
            return self._head
        return 0 if tail >= size else -1

    def add(self, topic, payload, flags, properties):
        """Take a message; returns its slot, -1 where slots or arena are full, -2 where it never fits.

        `flags` is the first byte of the PUBLISH. Its packet identifier is still to be put into `ids`.
        """
        slot = len(properties) + len(payload)
        at = _HEAD + len(topic.name)
        at = self._reserve(at, slot)
        if at < 0:
            return at
        slot = (self._first + self.count) % len(self.states)
        self.first_bytes[slot] = flags
        self._topics[slot] = topic
        self._properties[slot] = len(properties)
        self.states[slot] = _QUEUED
        if properties:
            flags = at + len(properties)
            self.arena[at:flags] = properties
            at = flags
        self.arena[at : self._head] = payload
        self.count += 1  # now that all of it is there
        return slot

    def _reserve(self, head, body):
        """Take room in the arena; returns where the body begins, or what `add` returns."""
        if head + body > len(self.arena):
            return -2
        if self.count == len(self.states):
            return -1
        at = self._place(head + body)
        if at < 0:
            return -1
        slot = (self._first + self.count) % len(self.states)
        self._starts[slot] = at
        self._sizes[slot] = body
        at += head
        self._head = at + body
        return at

    def next(self):
        """The slot of the next message to be sent in this connection, -1 for none."""
        while self._passed < self.count:
            slot = (self._first + self._passed) % len(self.states)
            if self.states[slot] == _QUEUED:
                return slot
            self._passed += 1
        return -1

    def plan(self, slot, head):
        """The size of the packet that `slot` makes, as `PublishHead.plan` returns it."""
        return head.plan(self._topics[slot], self._properties[slot], self._sizes[slot] + 2)

    def put(self, slot, head, size):
        """Write the planned head of `size` bytes in all in front; returns where it starts."""
        size = self._starts[slot] + _HEAD + len(self._topics[slot].name) + self._sizes[slot] - size
        self.states[slot] = SENT
        head.put(self.arena, size, self.first_bytes[slot], self.ids[slot])
        return size

    def find(self, packet_id, state):
        """The slot of the message with this identifier in this state, -1 for none."""
        for i in range(self.count):
            slot = (self._first + i) % len(self.states)
            if self.ids[slot] == packet_id and self.states[slot] == state:
                return slot
        return -1

    def drop(self, slot):
        """Forget a message and give its room back as soon as those before it are done."""
        self.states[slot] = _DONE
        self._topics[slot] = None
        while self.count and not self.states[self._first]:
            self._first = (self._first + 1) % len(self.states)
            self.count -= 1
            if self._passed:
                self._passed -= 1

    def end(self, slot, reason):
        """It has ended without an answer of the broker's, and the user has to be told."""
        self.states[slot] = ENDED
        self.first_bytes[slot] = reason

    def first(self, state):
        """The slot of the oldest message in this state, -1 for none."""
        for i in range(self.count):
            slot = (self._first + i) % len(self.states)
            if self.states[slot] == state:
                return slot
        return -1

    def rewind(self, resumed):
        """A new connection: what was sent and not acknowledged is sent again, in order.

        Where the broker has kept the session (`resumed`) with DUP [MQTT-3.3.1-1], or as the
        PUBREL that is due; else as new. What a broker had taken before it lost the session
        has arrived.
        """
        self._passed = 0
        for i in range(self.count):
            slot = (self._first + i) % len(self.states)
            state = self.states[slot]
            if state == RELEASED or state == RELEASING:
                if resumed:
                    self.states[slot] = RELEASING
                else:
                    self.end(slot, 0)
            elif state == SENT and resumed:
                self.states[slot] = _QUEUED
                self.first_bytes[slot] |= 8
            elif state == SENT or state == _QUEUED and not resumed:
                self.states[slot] = _QUEUED
                self.first_bytes[slot] &= ~8
