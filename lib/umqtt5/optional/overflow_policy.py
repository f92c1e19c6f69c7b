"""Which message gives way where the outbox is full; loaded by `Client(when_full=)`.

- `"oldest"`: the oldest that was not sent yet, and then the next, until the new one has room.
- `"topic"`: the oldest of the same topic that was not sent yet, so that of each topic the newest
  values are kept. Where there is none, the new one is refused.

What gives way is told by `on_ack` with 0x97, Quota exceeded, and counts as refused. A message
that was sent is never given up: the broker may have it.
"""

from ..core.outbox import MAX_HEADER, QUEUED
from ..core.packet import Packet

_DUP = 8
_QUOTA_EXCEEDED = 0x97


class OverflowPolicy:
    """Makes room in the outbox of a session; allocates nothing."""

    def __init__(self, session, when_full):
        if when_full not in ("oldest", "topic"):
            raise ValueError('when_full: "oldest" or "topic" expected')
        self._session = session
        self._by_topic = when_full == "topic"
        self._answer = Packet(b"")  # not the session's: that may be a message whose handler publishes

    def add(self, topic, payload, first_byte):
        """As `Outbox.add`, which had no room."""
        session = self._session
        properties = session.message_properties
        slot = -1
        while slot == -1:
            loser = self._loser(topic)
            if loser < 0:
                return -1
            self._close_gap(session.outbox, loser)
            session.outbox.remove(loser)
            slot = session.outbox.add(topic, payload, first_byte, properties)
            self._tell(loser)
        return slot

    def _loser(self, topic):
        """The slot of the message that gives way, -1 for none."""
        session = self._session
        outbox = session.outbox
        if session._block_at < session._block_end:
            return -1  # what is being written must not move
        for i in range(outbox.count):
            slot = outbox.slot_order[(outbox.head + i) % len(outbox.slot_order)]
            if outbox.states[slot] != QUEUED or outbox.first_bytes[slot] & _DUP:
                continue
            if not self._by_topic or outbox.topics[slot].name == topic.name:
                return slot
        return -1

    def _close_gap(self, outbox, loser):
        """Move its neighbours together, so that its bytes are room at once.

        The records lie in the order of the messages, from the oldest up to the end of the arena
        and on from its base. Those behind it move down; where the end of the arena is between
        it and the newest, those before it move up.
        """
        arena = outbox.arena
        end = outbox.body_offsets[loser] + outbox.body_sizes[loser]
        start = outbox.body_offsets[loser] - MAX_HEADER - len(outbox.topics[loser].name)
        oldest = outbox.slot_order[outbox.head]
        oldest = outbox.body_offsets[oldest] - MAX_HEADER - len(outbox.topics[oldest].name)
        size = end - start
        if oldest <= start and outbox.arena_end <= oldest:
            self._shift(outbox, loser, size)
            while start > oldest:
                start -= 1
                arena[start + size] = arena[start]
        else:
            self._shift(outbox, loser, -size)
            while end < outbox.arena_end:
                arena[start] = arena[end]
                start += 1
                end += 1
            outbox.arena_end -= size

    def _shift(self, outbox, loser, by):
        """Note where the messages before it (`by` above 0) or behind it will be."""
        behind = False
        for i in range(outbox.count):
            slot = outbox.slot_order[(outbox.head + i) % len(outbox.slot_order)]
            if slot == loser:
                behind = True
            elif behind == (by < 0):
                outbox.body_offsets[slot] += by

    def _tell(self, loser):
        session = self._session
        session.messages_refused += 1
        if session.callbacks.on_ack:
            raised = session._handler_failed
            self._answer.set_local_ack(loser + 1, _QUOTA_EXCEEDED)
            with session.catch_errors:
                session.callbacks.on_ack(self._answer)
            session._handler_failed = raised


def attach(session, when_full):
    """Have messages of a session give way."""
    session.overflow_policy = OverflowPolicy(session, when_full)
