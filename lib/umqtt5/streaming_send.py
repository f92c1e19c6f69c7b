"""Payloads larger than the buffers, out in pieces: the half of `stream` that sends."""

from errno import EIO

from micropython import const

from .core.outbox import ENDED, QUEUED, SENT
from .core.outbound import check_limits, exceeded_limit, plan_publish, write_publish_header
from .core.states import CONNECTED
from .core.topics import Topic

_PIECE = const(256)  # bytes that are read at a time
_STREAMED = const(0x3FFFFFFF)  # the size of a record of the outbox whose payload is not in it


def send(client, topic, reader, size, qos=0, retain=False, properties=b""):
    """Publish `size` bytes that `reader.readinto(buf)` gives; they go out while the client polls.

    Returns as `Client.publish` does; a false value also where another one is on its way. With
    QoS 1 and 2 `reader` has to have `seek`: after a reconnect it is read from where it was again.
    `on_ack` tells of the end; a reader that can't be read again, or fails, or gives fewer bytes
    ends the message with reason 0x80, and fewer bytes the link too: there is no other way to
    end a packet. The memory is 256 bytes, or what the topic and the properties need.

    Raises what `Client.publish` raises.
    """
    session = client.session
    if not isinstance(topic, Topic):
        topic = client.topic(topic)
    if not 0 <= qos <= 2 or size < 0:
        raise ValueError("qos is 0, 1 or 2, size from 0")
    if session.stream_source or (not qos and not client.is_connected):
        return 0
    first_byte = 0x30 | qos << 1 | (1 if retain else 0)
    rest = size + len(properties) + (2 if qos else 0)
    # with its full topic, which it may need
    check_limits(session, first_byte, 7 + len(topic.name) + rest)
    slot = -1
    if qos:
        outbox = session.outbox  # where there is a journal it has to know that the payload is not in it
        slot = getattr(outbox, "add_streamed", outbox.add)(topic, b"", first_byte, b"")
        if slot < 0:
            return 0
        session.outbox.body_sizes[slot] = _STREAMED
    session.stream_source = _Source(session, reader, size, slot, topic, first_byte, properties)
    client._flush_now()
    return slot + 1 if qos else True


def is_sending(client):
    """True while a payload of `send` is on its way; with QoS 1 and 2 until it has arrived."""
    return client.session.stream_source is not None


class _Source:
    """What `session` asks for the next block to write."""

    def __init__(self, session, reader, size, slot, topic, first_byte, properties):
        self._session = session
        self._reader = reader
        self._size = size
        self._slot = slot  # -1 for QoS 0
        self._topic = topic
        self._first_byte = first_byte
        self._properties = properties
        self._start = reader.tell() if slot >= 0 and hasattr(reader, "tell") else 0
        self._piece = bytearray(max(_PIECE, 24 + len(topic.name) + len(properties)))
        self._left = -1  # to be read in this connection, -1 where it has not begun
        self._fresh = True  # nothing was read

    def more(self):
        """Give the session its next block; False where there is none now."""
        session = self._session
        if self._left > 0 and session._block is self._piece:
            return self._next()
        outbox, slot = session.outbox, self._slot
        if slot < 0:
            if self._left >= 0:
                return self._over()  # it has gone, or the link has
        else:
            state = outbox.states[slot]
            if outbox.body_sizes[slot] != _STREAMED or (state != QUEUED and state != SENT):
                return self._over()  # it has arrived
            if session._send_quota < 1 or outbox.oldest(QUEUED) != slot:
                return False
        if session.state != CONNECTED or session._tx_at < session._tx_end:
            return False  # what sets up an alias goes before what uses it
        return self._begin()

    def _begin(self):
        session, slot = self._session, self._slot
        first_byte = session.outbox.first_bytes[slot] if slot >= 0 else self._first_byte
        rest = self._size + len(self._properties) + (2 if slot >= 0 else 0)
        reason = exceeded_limit(session, first_byte, plan_publish(session, self._topic, len(self._properties), rest))
        if reason or not (self._fresh or self._again()):
            return self._failed(reason or 0x80)
        at = write_publish_header(session, self._piece, 0, first_byte, slot + 1)
        end = at + len(self._properties)
        self._piece[at:end] = self._properties
        self._block(end)
        self._left = self._size
        if slot >= 0:
            session.outbox.states[slot] = SENT
            session._send_quota -= 1
            session.pending_acks += 1
        return True

    def _again(self):
        """Read from the start once more; False where that can't be."""
        try:
            self._reader.seek(self._start)
        except (AttributeError, OSError):
            return False
        return True

    def _next(self):
        self._fresh = False
        n = min(self._left, len(self._piece))
        try:
            n = self._reader.readinto(self._piece if n == len(self._piece) else memoryview(self._piece)[:n])
        except Exception as error:
            self._session._report_error(error)
            n = 0
        if not n:
            self._failed(0x80)
            raise OSError(EIO, "the reader gave too few bytes")
        self._left -= n
        self._block(n)
        return True

    def _block(self, end):
        session = self._session
        session._block = self._piece
        session._block_slot = self._slot
        session._block_at = 0
        session._block_end = end

    def _failed(self, reason):
        if self._slot >= 0:
            self._session.outbox.states[self._slot] = ENDED
            self._session.outbox.first_bytes[self._slot] = reason
            self._session._has_unreported = True
        return self._over()

    def _over(self):
        self._session.stream_source = None
        return False
