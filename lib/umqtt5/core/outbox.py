"""What is accepted for QoS 1 and 2 and not yet acknowledged, in order, in a fixed arena.

A record is room for the longest head that its PUBLISH can have, then the user's properties
and payload. The head is written in front of them each time the record is sent, so that it
can go out by an alias now and with its full topic after a reconnect, in one write and
without a second copy of the payload.

The packet identifier of a message is its slot and one, so that an answer finds it by number
[MQTT-2.2.1-3].
"""

from array import array

from micropython import const

FREE = const(0)
QUEUED = const(1)
SENT = const(2)  # PUBLISH
RELEASING = const(3)  # PUBREC has come, PUBREL has to go out
RELEASED = const(4)  # PUBREL has gone out
ENDED = const(5)  # and the user has to be told
MAX_HEADER = const(14)  # first byte 1, remaining length 4, topic length 2, packet id 2, properties 2 + 3


class Outbox:
    """`size` bytes for messages, `slots` for how many there may be at once.

    `order` has the slots of the `count` messages, oldest first, as a ring that begins at `head`.
    By slot: `states`, `topics`, the `sizes` of body and of `properties` in it, `bodies` where
    it begins, and `first_bytes` of the PUBLISH, with DUP, QoS and RETAIN, where a message
    that has ENDED has its reason code.
    """

    def __init__(self, size, slots):
        self.arena = bytearray(size)
        self.states = bytearray(slots)
        self.first_bytes = bytearray(slots)
        self.topics: list = [None] * slots
        self.body_offsets = array("I", [0] * slots)
        self.body_sizes = array("I", [0] * slots)
        self.property_sizes = array("I", [0] * slots)
        self.slot_order = array("H", [0] * slots)
        self.head = self.count = 0
        self._newest = slots - 1
        self.arena_end = 0  # offset in the arena behind the newest
        self._passed = 0  # how many, from the oldest on, were dealt with in this connection

    def _reserve(self, size):
        """Put `end` behind `size` free bytes in one piece; False where there are none."""
        limit = len(self.arena)
        at = 0
        if self.count:
            at = self.slot_order[self.head]
            oldest = self.body_offsets[at] - MAX_HEADER - len(self.topics[at].name)
            at = self.arena_end
            if at <= oldest:
                limit = oldest
            elif limit - at < size:
                at = 0
                limit = oldest
        if limit - at < size or self.count == len(self.states):
            return False
        self.arena_end = at + size
        return True

    def add(self, topic, payload, first_byte, properties):
        """Take a message; returns its slot, -1 where slots or arena are full, -2 where it never fits.

        `first_byte` is that of the PUBLISH.
        """
        size = len(properties) + len(payload)
        slot = MAX_HEADER + len(topic.name) + size
        if slot > len(self.arena):
            return -2
        if not self._reserve(slot):
            return -1
        slot = (self.head + self.count) % len(self.slot_order)
        while True:  # an identifier rests for as long as it can
            self._newest = (self._newest + 1) % len(self.slot_order)
            if not self.states[self._newest]:
                break
        self.slot_order[slot] = self._newest
        slot = self._newest
        self.first_bytes[slot] = first_byte
        self.topics[slot] = topic
        self.body_offsets[slot] = self.arena_end - size
        self.body_sizes[slot] = size
        self.property_sizes[slot] = len(properties)
        size = self.arena_end - len(payload)
        self.arena[self.body_offsets[slot] : size] = properties
        self.arena[size : self.arena_end] = payload
        self.states[slot] = QUEUED
        self.count += 1  # now that all of it is there
        return slot

    def oldest(self, state):
        """The slot of the oldest message in this state, -1 for none."""
        for i in range(self._passed if state == QUEUED else 0, self.count):
            slot = self.slot_order[(self.head + i) % len(self.states)]
            if self.states[slot] == state:
                if state == QUEUED:
                    self._passed = i
                return slot
        if state == QUEUED:
            self._passed = self.count
        return -1

    def remove(self, slot):
        """Forget a message. Its bytes are room again when those before it are gone, too."""
        self.states[slot] = FREE
        self.topics[slot] = None
        i = 0
        while self.slot_order[(self.head + i) % len(self.slot_order)] != slot:
            i += 1
        if i < self._passed:
            self._passed -= 1
        while i:  # those before it move up
            self.slot_order[(self.head + i) % len(self.slot_order)] = self.slot_order[(self.head + i - 1) % len(self.slot_order)]
            i -= 1
        self.head = (self.head + 1) % len(self.slot_order)
        self.count -= 1

    def rewind(self, resumed):
        """A new connection: what was sent and not acknowledged is sent again, in order.

        Where the broker has kept the session (`resumed`) with DUP [MQTT-3.3.1-1], or as the
        PUBREL that is due; else as new. What a broker had taken before it lost the session
        has arrived.
        """
        self._passed = 0
        for slot in range(len(self.states)):
            state = self.states[slot]
            if state == SENT and resumed:
                self.states[slot] = QUEUED
                self.first_bytes[slot] |= 8
            elif state == RELEASED or state == RELEASING:
                self.states[slot] = RELEASING
                if not resumed:
                    self.states[slot] = ENDED
                    self.first_bytes[slot] = 0
            elif (state == SENT or state == QUEUED) and not resumed:
                self.states[slot] = QUEUED
                self.first_bytes[slot] &= ~8
