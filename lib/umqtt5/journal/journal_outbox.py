"""Outbox that reports each change of its messages to the journal, which stores it on flash."""

from micropython import const

from ..core.outbox import GIVEN_UP, MAX_HEADER, RELEASED, RELEASING, SENT, Outbox

# bits of `record_flags`: records of a message in the log
MESSAGE = const(1)  # PUBLISH
RELEASE = const(2)  # PUBREL
UNSYNCED = const(4)  # the last record is not synced yet
BODY_HEADER = const(5)  # bytes in front of the topic in a record: length of topic 2, of properties 3
STREAMED = const(0x3FFFFFFF)  # body size of a streamed message, whose payload is not in the outbox


class JournalOutbox(Outbox):
    """An outbox with a journal. `record_flags` shows, by slot, which records of a message are in the log."""

    _add = Outbox.add

    def __init__(self, journal, outbox, size, slots):
        if size > len(outbox.arena) or slots > len(outbox.states):
            outbox = Outbox(max(size, len(outbox.arena)), max(slots, len(outbox.states)))
        self._journal = journal
        self.arena = outbox.arena
        self.states = outbox.states
        self.first_bytes = outbox.first_bytes
        self.topics = outbox.topics
        self.body_offsets = outbox.body_offsets
        self.body_sizes = outbox.body_sizes
        self.property_sizes = outbox.property_sizes
        self.slot_order = outbox.slot_order
        self.head = self.count = self.arena_end = self.passed = 0
        self._newest = len(self.states) - 1
        self.record_flags = bytearray(len(self.states))

    def add(self, topic, payload, first_byte, properties):
        """Add a message as `Outbox.add` does, and store it. Returns -1 also if the flash fails."""
        topic = self._add(topic, payload, first_byte, properties)  # one more local needs a heap frame
        return self._store(topic)

    def _store(self, slot):
        if slot >= 0 and not self._journal.store_message(slot):
            return self._take_back(slot)
        return slot

    def _take_back(self, slot):
        """Remove the newest message, because it could not be stored; its bytes are free again."""
        self.record_flags[slot] = 0
        self.arena_end = self.body_offsets[slot] - MAX_HEADER - len(self.topics[slot].name)
        Outbox.free(self, slot)
        return -1

    def add_streamed(self, topic, payload, first_byte, properties):
        """Add a message whose payload is streamed. It does not survive a restart; see `streaming_send`."""
        slot = self._add(topic, payload, first_byte, properties)
        if slot >= 0 and first_byte & 4 and not self._journal.store_streamed(slot):
            return self._take_back(slot)
        return slot

    def oldest(self, state):
        """Return the slot of the oldest message in this state that may be sent, -1 if there is none."""
        state = Outbox.oldest(self, state)
        if state >= 0 and self.record_flags[state] & UNSYNCED and self.first_bytes[state] & 4:
            # this message waits for a sync, and later messages must not overtake it
            return state if self._journal._is_failing else -1
        return state

    def free(self, slot):
        """Remove a message and store that it has ended."""
        refused = self.states[slot] == SENT and self.first_bytes[slot] & 4
        Outbox.free(self, slot)
        if self.record_flags[slot]:
            self.record_flags[slot] = 0
            self._journal.store_removed(slot, refused)

    def start_session(self):
        """Mark QoS 2 messages to be sent again, because the broker may have lost them with the session.

        A streamed message ends instead, because its payload may not be available.
        """
        for slot in range(len(self.states)):
            if self.body_sizes[slot] == STREAMED or self.first_bytes[slot] & GIVEN_UP:
                continue
            if self.states[slot] == RELEASED or self.states[slot] == RELEASING:
                self.states[slot] = SENT
                self.record_flags[slot] = MESSAGE | UNSYNCED  # the log still has its PUBREL

    def rewind(self, resumed):
        """Handle the beginning of a connection; see `Outbox.rewind`."""
        self._journal.handle_connected(resumed)
        Outbox.rewind(self, resumed)
