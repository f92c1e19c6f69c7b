"""Streaming send: publish a payload that is larger than the buffers, by reading it in pieces."""

from errno import EIO

from micropython import const

from .core.outbound import check_limits, exceeded_limit, lower_first_byte, plan_publish, write_publish_header
from .core.outbox import ENDED, QUEUED, SENT
from .core.states import CONNECTED
from .core.topics import Topic
from .core.wire import check_int

_PIECE = const(256)  # bytes to read at a time
_STREAMED = const(0x3FFFFFFF)  # body size of a message whose payload is not in the outbox


def send(client, topic, reader, size, qos=0, retain=False, properties=b""):
    """Publish `size` bytes, which the client reads with `reader.readinto(buf)` while it polls.

    Returns what `Client.publish` returns, and 0 if another payload is still being sent. At QoS 1 and 2
    `reader` needs `seek`, because after a reconnect the payload is read again from its first byte. `on_ack`
    reports when the message is acknowledged or has failed. If the reader raises an exception, can't go back
    to the first byte or has fewer than `size` bytes, the message ends with reason code 0x80. If it raises an
    exception or has too few bytes, the connection ends as well, because a packet that has begun can't be
    cancelled. The buffer has 256 bytes, or more if topic and properties need more.

    Raises what `Client.publish` raises, and RuntimeError if a scheduled function interrupts the client.
    """
    if not isinstance(topic, Topic):
        topic = client.topic(topic)
    check_int("qos", qos, 2)
    check_int("size", size, 268435455)
    with client.session:
        return _send(client, topic, reader, size, qos, retain, properties)


def _send(client, topic, reader, size, qos, retain, properties):
    session = client.session
    if session.stream_source or (not qos and not client.is_connected):
        return 0
    first_byte = 0x30 | qos << 1 | (1 if retain else 0)
    rest = size + len(properties) + (2 if qos else 0)
    # the packet may need the full topic
    check_limits(session, first_byte, 7 + len(topic.name) + rest)
    slot = -1
    if qos:
        outbox = session.outbox  # with a journal it has `add_streamed`: the payload is not stored
        slot = getattr(outbox, "add_streamed", outbox.add)(topic, b"", first_byte, b"")
        if slot < 0:
            return 0
        session.outbox.body_sizes[slot] = _STREAMED
    session.stream_source = _Source(session, reader, size, slot, topic, first_byte, properties)
    client._flush_now()
    return slot + 1 if qos else True


def is_sending(client):
    """Return True while a payload is being sent; at QoS 1 and 2 until PUBACK or PUBREC arrives."""
    return client.session.stream_source is not None


class _Source:
    """Reads one payload in blocks, which the session writes one after the other."""

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
        self._has_id = True  # whether the packet has a packet identifier: not at QoS 0
        self._left = -1  # bytes left to read in this connection, -1 before the packet is begun
        self._is_unread = True  # nothing has been read from the reader yet

    def more(self):
        """Give the session the next block to write; return False if there is none at the moment."""
        session = self._session
        if self._left > 0 and session._block is self._piece:
            return self._read_piece()
        outbox, slot = session.outbox, self._slot
        if slot < 0:
            if self._left >= 0:
                return self._end()  # the payload is written, or the connection is lost
        else:
            state = outbox.states[slot]
            if outbox.body_sizes[slot] != _STREAMED or (state != QUEUED and state != SENT):
                return self._end()  # the message is acknowledged or has ended
            if state == SENT and not self._has_id and not self._left:
                return self._fail(0)  # lowered to QoS 0 and written: no answer will come
            if session._send_quota < 1 or outbox.oldest(QUEUED) != slot:
                return False
        if session.state != CONNECTED or session._tx_at < session._tx_end:
            return False  # a packet in `tx` may set up the alias that this message uses
        return self._begin()

    def _begin(self):
        session, slot = self._session, self._slot
        first_byte = session.outbox.first_bytes[slot] if slot >= 0 else self._first_byte
        first_byte = lower_first_byte(session, first_byte)
        self._has_id = first_byte & 6
        rest = self._size + len(self._properties) + (2 if self._has_id else 0)
        size = plan_publish(session, self._topic, len(self._properties), rest)
        reason = exceeded_limit(session, first_byte, size)
        if reason or not (self._is_unread or self._rewind()):
            return self._fail(reason or 0x80)
        at = write_publish_header(session, self._piece, 0, first_byte, slot + 1 if self._has_id else 0)
        end = at + len(self._properties)
        self._piece[at:end] = self._properties
        self._set_block(end)
        self._left = self._size
        if slot >= 0:
            session.outbox.states[slot] = SENT
        if self._has_id:
            session._send_quota -= 1
            session.pending_acks += 1
        return True

    def _rewind(self):
        """Go back to the first byte of the payload; return False if the reader can't."""
        try:
            self._reader.seek(self._start)
        except (AttributeError, OSError):
            return False
        return True

    def _read_piece(self):
        """Read the next piece and make it the block to write.

        Raises OSError if the reader has no more bytes.
        """
        self._is_unread = False
        n = min(self._left, len(self._piece))
        try:
            n = self._reader.readinto(self._piece if n == len(self._piece) else memoryview(self._piece)[:n])
        except Exception as error:
            self._session._report_error(error)
            n = 0
        if not n:
            self._fail(0x80)
            raise OSError(EIO, "the reader has returned too few bytes")
        self._left -= n
        self._set_block(n)
        return True

    def _set_block(self, end):
        session = self._session
        session._block = self._piece
        session._block_slot = self._slot
        session._block_at = 0
        session._block_end = end

    def _fail(self, reason):
        """End the message with this reason code for `on_ack`."""
        if self._slot >= 0:
            self._session.outbox.states[self._slot] = ENDED
            self._session.outbox.first_bytes[self._slot] = reason
            self._session._has_unreported = True
        return self._end()

    def _end(self):
        self._session.stream_source = None
        return False
