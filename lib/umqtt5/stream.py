"""Payloads larger than the buffers, in pieces, both ways. Loaded where it is imported.

from umqtt5 import stream

with open("picture.jpg", "rb") as file:
    stream.send(client, "camera/picture", file, size, qos=1)
    while stream.sending(client):
        client.poll(1000)

stream.receive(client, "update/#", begin, qos=1, maximum=100000)
"""

from errno import EIO

from micropython import const

from .framer import Framer
from .outbox import ENDED, QUEUED, SENT
from .session import CONNECTED
from .topics import Topic
from .wire import get_u16, get_varint, varint_size

_PIECE = const(256)  # bytes that are read at a time
_ELSEWHERE = const(0x3FFFFFFF)  # the size of a record of the outbox whose payload is not in it


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
    if session.source or (not qos and not client.connected):
        return 0
    first_byte = 0x30 | qos << 1 | (1 if retain else 0)
    rest = size + len(properties) + (2 if qos else 0)
    # with its full topic, which it may need
    session._allow(first_byte, 7 + len(topic.name) + rest)
    slot = -1
    if qos:
        outbox = session.outbox  # where there is a journal it has to know that the payload is not in it
        slot = getattr(outbox, "place", outbox.add)(topic, b"", first_byte, b"")
        if slot < 0:
            return 0
        session.outbox.sizes[slot] = _ELSEWHERE
    session.source = _Source(session, reader, size, slot, topic, first_byte, properties)
    client._push()
    return slot + 1 if qos else True


def sending(client):
    """True while a payload of `send` is on its way; with QoS 1 and 2 until it has arrived."""
    return client.session.source is not None


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
            if outbox.sizes[slot] != _ELSEWHERE or (state != QUEUED and state != SENT):
                return self._over()  # it has arrived
            if session._quota < 1 or outbox.first(QUEUED) != slot:
                return False
        if session.state != CONNECTED or session._tx_at < session._tx_end:
            return False  # what sets up an alias goes before what uses it
        return self._begin()

    def _begin(self):
        session, slot = self._session, self._slot
        first_byte = session.outbox.first_bytes[slot] if slot >= 0 else self._first_byte
        rest = self._size + len(self._properties) + (2 if slot >= 0 else 0)
        reason = session._forbidden(first_byte, session._plan(self._topic, len(self._properties), rest))
        if reason or not (self._fresh or self._again()):
            return self._failed(reason or 0x80)
        at = session._head(self._piece, 0, first_byte, slot + 1)
        end = at + len(self._properties)
        self._piece[at:end] = self._properties
        self._block(end)
        self._left = self._size
        if slot >= 0:
            session.outbox.states[slot] = SENT
            session._quota -= 1
            session.owed += 1
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
            self._session._failed(error)
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
            self._session._untold = True
        return self._over()

    def _over(self):
        self._session.source = None
        return False


def receive(client, topic_filter, begin, qos=1, maximum=65536):
    """Subscribe to messages of up to `maximum` bytes of packet, which come in pieces.

    `begin(message, size)` is called when the topic and the properties of one are there, and
    returns a function `take(piece)`, or None for a message that is not wanted. `take` is
    called with bytes as they come (they lie in the receive buffer: copy what you keep), with
    an empty piece when the message is complete, and with None where the link was lost before.
    When `take` has returned from the empty piece the message is acknowledged; where it or
    `begin` raises, with 0x80, and QoS 2 then takes it again.

    To be called before `connect`: the broker is told `maximum` (Maximum Packet Size). A message
    that is larger than `rx` and that nobody here takes is read, thrown away, and acknowledged
    with 0x97, Quota exceeded. Topic and properties have to fit into `rx`: 0x95 ends the link else.
    """
    session = client.session
    if not isinstance(session.framer, _StreamFramer):
        session.framer = _StreamFramer(session)
    session.maximum_packet_size = max(session.maximum_packet_size, maximum)
    subscription = client.subscribe(topic_filter, lambda message: _whole(message, begin), qos)
    session.framer.sinks.append((subscription, begin))
    return subscription


def _whole(message, begin):
    """A message that fits into `rx`."""
    take = begin(message, len(message))
    if take:
        if len(message):
            take(memoryview(message._buf)[message.payload_at : message.payload_end])
        take(b"")


class _StreamFramer(Framer):
    """Hands out the payload of a PUBLISH that is larger than `rx` as it comes."""

    def __init__(self, session):
        self.sinks = []  # pairs of subscription and `begin`
        self._session = session
        self._take = None
        self._left = -1  # bytes of the payload that are still to come, -1 where there is none
        self._again = False  # it is here already (QoS 2)
        self._first_byte = self._packet_id = 0  # `session.packet` may be another by its end
        super().__init__(len(session.framer.rx))
        session.packet._buf = session.packet.topic_buf = self.rx

    def reset(self):
        super().reset()
        if self._left >= 0:
            self._left = -1
            self._give(None)

    def next(self):
        """As `Framer.next`; -1 where something was handled here, and there may be more."""
        if self._left < 0:
            found = super().next()
            if found != 0x95:
                return found
            found = self._head()
            if found or self._left < 0:
                return found
        n = min(self._left, self._have - self._at)
        if n:
            self._give(memoryview(self.rx)[self._at : self._at + n])
            self._at += n
            self._left -= n
        if self._left:
            return 0
        self._left = -1
        self._give(b"")
        self._acknowledge()
        return -1

    def _give(self, piece):
        take = self._take
        if take:
            with self._session.guard:
                take(piece)
                return
            self._take = None  # it has raised

    def _acknowledge(self):
        """As `Session._publish` does."""
        session = self._session
        qos = self._first_byte >> 1 & 3
        reason = 0 if self._take or self._again else 0x97
        if session._raised:
            reason = 0x80
        self._take = None
        if qos == 2 and not reason and not self._again:
            session._swap(0, self._packet_id)
        if qos and session.state == CONNECTED:
            session.ack(0x30 + 0x10 * qos, self._packet_id, reason)

    def _head(self):
        """The packet at hand is larger than `rx`: begin with it as soon as its head is there.

        Returns 0, or the reason code of what is wrong.
        """
        rx, session = self.rx, self._session
        at = self._at + 1
        size = get_varint(rx, at, self._have)
        at += varint_size(size)
        end = at + size
        self.first = rx[self._at]
        if session.state != CONNECTED:
            return 0x82  # [MQTT-3.2.0-1]
        if self.first >> 4 != 3 or end - self._at > session.maximum_packet_size:
            return 0x95
        payload = at + 2
        if payload > self._have:
            return 0
        payload += get_u16(rx, at) + (2 if self.first & 6 else 0)
        size = get_varint(rx, payload, self._have) if payload < self._have else -1
        if size == -2:
            return 0x81
        if size >= 0:
            payload += varint_size(size) + size
        if payload > end:
            return 0x81
        if size < 0 or payload > self._have:
            # where rx is full the head goes on behind it
            return 0x95 if max(payload, self._have + 1) - self._at > len(rx) else 0
        packet = session.packet
        reason = packet.parse(self.first, at, payload) or session._resolve(packet)
        if reason:
            return reason
        self._again = packet.qos == 2 and session._swap(packet.packet_id, packet.packet_id)
        if packet.qos == 2 and not self._again and not session._swap(0, 0):
            return 0x93
        session._raised = False
        session.messages_received += 1
        self._first_byte = self.first
        self._packet_id = packet.packet_id
        self._left = end - payload
        self._at = payload
        if not self._again:
            self._choose(packet)
        return 0

    def _choose(self, packet):
        for subscription, begin in self.sinks:
            if not subscription.gone and packet.matches(subscription.part):
                with self._session.guard:
                    self._take = begin(packet, self._left)
                return
