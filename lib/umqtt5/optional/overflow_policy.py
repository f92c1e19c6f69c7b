"""Overflow policy of the outbox, `Client(when_full=)`: which messages are dropped if the outbox is full.

- `"oldest"`: the oldest message that was not sent yet, then the next oldest, until the new message fits.
- `"topic"`: the same, but only messages with the topic of the new message are dropped. So the newest values
  of each topic are kept.

If there is no message left to drop, the new message is refused. `on_ack` reports a dropped message with 0x97,
Quota exceeded. A dropped message counts as refused. A message that was sent is never dropped, because the
broker may have it.
"""

from ..core.outbox import MAX_HEADER, QUEUED
from ..core.packet import Packet

_DUP = 8  # bit of the first byte: the message was sent before
_QUOTA_EXCEEDED = 0x97


class OverflowPolicy:
    """Makes room in the outbox of a session; allocates nothing."""

    def __init__(self, session, when_full):
        if when_full not in ("oldest", "topic"):
            raise ValueError('when_full must be "oldest" or "topic"')
        self._session = session
        self._by_topic = when_full == "topic"
        self._ack = Packet(b"")  # not `session.packet`: a handler that publishes may still be reading it

    def add(self, topic, payload, first_byte):
        """Drop messages until the new one fits, and add it; returns what `Outbox.add` returns."""
        session = self._session
        properties = session.message_properties
        slot = -1
        while slot == -1:
            dropped = self._choose(topic)
            if dropped < 0:
                return -1
            self._close_gap(session.outbox, dropped)
            session.outbox.free(dropped)
            slot = session.outbox.add(topic, payload, first_byte, properties)
            self._report(dropped)
        return slot

    def _choose(self, topic):
        """Return the slot of the message to drop, -1 if there is none."""
        session = self._session
        outbox = session.outbox
        if session._block_at < session._block_end:
            return -1  # a message that is being written must not move
        for i in range(outbox.count):
            slot = outbox.slot_order[(outbox.head + i) % len(outbox.slot_order)]
            if outbox.states[slot] != QUEUED or outbox.first_bytes[slot] & _DUP:
                continue
            if not self._by_topic or outbox.topics[slot].name == topic.name:
                return slot
        return -1

    def _close_gap(self, outbox, dropped):
        """Close the gap of a dropped message in the arena, so that its bytes can be used at once.

        The messages lie in the arena in order. After the end of the arena they may continue at its start.
        Normally the messages after the dropped one move down. If the end of the arena lies between the
        dropped and the newest message, the messages before the dropped one move up instead.
        """
        arena = outbox.arena
        end = outbox.body_offsets[dropped] + outbox.body_sizes[dropped]
        start = outbox.body_offsets[dropped] - MAX_HEADER - len(outbox.topics[dropped].name)
        oldest = outbox.slot_order[outbox.head]
        oldest = outbox.body_offsets[oldest] - MAX_HEADER - len(outbox.topics[oldest].name)
        size = end - start
        if oldest <= start and outbox.arena_end <= oldest:
            self._shift(outbox, dropped, size)
            while start > oldest:
                start -= 1
                arena[start + size] = arena[start]
        else:
            self._shift(outbox, dropped, -size)
            while end < outbox.arena_end:
                arena[start] = arena[end]
                start += 1
                end += 1
            outbox.arena_end -= size

    def _shift(self, outbox, dropped, by):
        """Add `by` to the offsets of the messages before `dropped` (`by` > 0) or after it (`by` < 0)."""
        is_after = False
        for i in range(outbox.count):
            slot = outbox.slot_order[(outbox.head + i) % len(outbox.slot_order)]
            if slot == dropped:
                is_after = True
            elif is_after == (by < 0):
                outbox.body_offsets[slot] += by

    def _report(self, dropped):
        """Report a dropped message to `on_ack`."""
        session = self._session
        session.messages_refused += 1
        if session.callbacks.on_ack:
            failed = session._handler_failed
            self._ack.set_plain_ack(dropped + 1, _QUOTA_EXCEEDED)
            with session.catch_errors:
                session.callbacks.on_ack(self._ack)
            session._handler_failed = failed


def attach(session, when_full):
    """Set the overflow policy of a session. Raises ValueError."""
    session.overflow_policy = OverflowPolicy(session, when_full)
