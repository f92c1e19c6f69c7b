"""Outbox: stores messages of QoS 1 and 2 in order, until they are acknowledged, in a fixed amount of memory.

Each message is a record in `arena`, a ring buffer. A record has room for the longest header that its PUBLISH
can have, followed by the body: the user's properties and the payload. The header is written in front of the
body each time the record is sent. So a message can be sent with a topic alias first, and with its full topic
after a reconnect. In both cases the packet is contiguous, so it needs one write and no second copy of the
payload.

The packet identifier of a message is its slot plus one, so the message of an acknowledgement is found by
index [MQTT-2.2.1-3].
"""

from array import array

from micropython import const

# states of a slot
FREE = const(0)
QUEUED = const(1)
SENT = const(2)  # PUBLISH is sent
RELEASING = const(3)  # PUBREC was received, PUBREL is due
RELEASED = const(4)  # PUBREL is sent
ENDED = const(5)  # the message ended without an acknowledgement; `on_ack` is due

GIVEN_UP = const(0x80)  # bit of `first_bytes`
# From this number on, only one message is sent at a time, to find out which one ends the connections.
PROBE_BLAME = const(7)

# bytes: first byte 1, remaining length 4, topic length 2, packet identifier 2, properties length 2, alias 3
MAX_HEADER = const(14)


class Outbox:
    """Stores up to `slots` messages of `size` bytes in total.

    `slot_order` is a ring with the slots of the `count` messages, oldest first, from `head` on. Lists indexed
    by slot: `states`, `topics`, `body_offsets` in the arena, `body_sizes`, `property_sizes` (the part of the
    body that is properties), and `first_bytes` (first byte of the PUBLISH, with DUP, QoS and RETAIN). If the
    state is ENDED, `first_bytes` has the reason code instead. If the client has given up a message of QoS 2
    and has to send PUBREL for it, `first_bytes` has the bit GIVEN_UP.
    """

    suspect_count = 0  # see `optional.give_up`

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
        self.arena_end = 0  # offset in the arena after the newest record
        self.passed = 0  # number of the oldest messages that are no longer QUEUED in this connection

    def _reserve(self, size):
        """Reserve `size` contiguous bytes before the new `arena_end`; returns False if there is no room."""
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
        """Add a message; `first_byte` is the first byte of its PUBLISH.

        Returns the slot of the message, -1 if there is no free slot or not enough free space in the arena, -2
        if the message is larger than the arena.
        """
        size = len(payload)
        if properties:
            size += len(properties)
        slot = MAX_HEADER + len(topic.name) + size
        if not self._reserve(slot):
            return -2 if slot > len(self.arena) else -1
        slot = self._newest
        while True:  # a packet identifier is reused as late as possible
            slot = (slot + 1) % len(self.states)
            if not self.states[slot]:
                break
        self._newest = slot
        self.first_bytes[slot] = first_byte
        first_byte = (self.head + self.count) % len(self.states)  # one more local needs a heap frame
        self.slot_order[first_byte] = slot
        self.topics[slot] = topic
        self.body_sizes[slot] = size
        size = self.arena_end - size
        self.body_offsets[slot] = size
        self.property_sizes[slot] = 0
        if properties:
            self.property_sizes[slot] = len(properties)
            first_byte = size + len(properties)
            self.arena[size:first_byte] = properties
            size = first_byte
        self.arena[size : self.arena_end] = payload
        self.states[slot] = QUEUED
        self.count += 1  # counted last, because now the record is complete
        return slot

    def oldest(self, state):
        """Return the slot of the oldest message in this state, -1 if there is none."""
        if state == QUEUED and self.passed == self.count:
            return -1
        for i in range(self.passed if state == QUEUED else 0, self.count):
            slot = self.slot_order[(self.head + i) % len(self.states)]
            if self.states[slot] == state:
                if state == QUEUED:
                    self.passed = i
                return slot
        if state == QUEUED:
            self.passed = self.count
        return -1

    def free(self, slot):
        """Free the slot of a message. Its bytes become free when all older messages are freed as well.

        A KeyboardInterrupt may end the loops. After each step `slot_order` has all messages.
        """
        order = self.slot_order
        i = 0
        while order[(self.head + i) % len(order)] != slot:
            i += 1
        if i < self.passed:
            self.passed -= 1
        while i:  # the slots of older messages move one place towards the newest
            i -= 1
            order[(self.head + i + 1) % len(order)] = order[(self.head + i) % len(order)]
            order[(self.head + i) % len(order)] = slot
        self.states[slot] = FREE
        self.topics[slot] = None
        self.head = (self.head + 1) % len(order)
        self.count -= 1

    def rewind(self, resumed):
        """Begin a new connection: messages that were sent but not acknowledged are sent again, in order.

        If the broker has kept the session (`resumed`), they are sent with DUP [MQTT-3.3.1-1]; after PUBREC
        only PUBREL is sent again. Otherwise they are sent as new messages, except those for which PUBREC was
        received: the broker has those already, so they end.
        """
        self.passed = 0
        for slot in range(len(self.states)):
            state = self.states[slot]
            if state == SENT and resumed:
                self.states[slot] = QUEUED
                self.first_bytes[slot] |= 8
            elif state == RELEASED or state == RELEASING:
                self.states[slot] = RELEASING
                if not resumed:
                    self.states[slot] = ENDED
                    self.first_bytes[slot] &= GIVEN_UP  # 0x80, Unspecified error, or 0
            elif (state == SENT or state == QUEUED) and not resumed:
                self.states[slot] = QUEUED
                self.first_bytes[slot] &= ~8
