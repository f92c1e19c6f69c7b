"""Streaming receive: deliver a payload that is larger than the receive buffer, piece by piece."""

from .core.framer import Framer
from .core.inbound import replace_received_id, resolve_topic
from .core.states import CONNECTED
from .core.wire import get_u16, get_varint, varint_size


def receive(client, topic_filter, begin, qos=1, max_size=65536):
    """Subscribe to messages whose packets have up to `max_size` bytes; they arrive in pieces.

    `begin(message, size)` is called for each message. Only topic and properties of `message` are available;
    `size` is the size of its payload in bytes. `begin` returns a function `take(piece)`, or None to drop the
    message. `take` is called with each piece of the payload. The piece lies in the receive buffer: copy it if
    you keep it. The last call is `take(b"")` when the message is complete, or `take(None)` if the connection
    is lost before that. After `take(b"")` the message is acknowledged. If `begin` or `take` raises, the
    message is acknowledged with 0x80, Unspecified error.

    Call `receive` before `connect`, because CONNECT announces `max_size` (Maximum Packet Size). Otherwise
    messages larger than `rx` arrive from the next connection on. A message
    that is larger than `rx` and that no `begin` accepts is dropped and acknowledged with 0x97, Quota
    exceeded. Topic and properties must fit into `rx`; otherwise the connection ends with 0x95. Returns the
    Subscription.
    """
    session = client.session
    with client.session:
        if not isinstance(session.framer, _StreamFramer):
            session.framer = _StreamFramer(session)
        session.maximum_packet_size = max(session.maximum_packet_size, max_size)
    subscription = client.subscribe(topic_filter, lambda message: _deliver(message, begin), qos)
    session.framer.sinks.append((subscription, begin))
    return subscription


def _deliver(message, begin):
    """Deliver a message that fits into `rx`."""
    take = begin(message, len(message))
    if take:
        if len(message):
            take(memoryview(message._buf)[message.payload_start : message.payload_end])
        take(b"")


class _StreamFramer(Framer):
    """A framer that delivers a PUBLISH larger than `rx` piece by piece."""

    def __init__(self, session):
        self.sinks = []  # (subscription, begin)
        self._session = session
        self._take = None
        self._left = -1  # bytes of the payload still to come, -1 while no large message is being received
        self._is_duplicate = False  # QoS 2: the message was received before
        self._first_byte = self._packet_id = 0  # copies: later packets overwrite `session.packet`
        # take over the buffers, because the connection may be open
        framer = session.framer
        self.rx, self._chunk = framer.rx, framer._chunk
        self._at, self._have = framer._at, framer._have
        self.first_byte, self.at, self.end = framer.first_byte, framer.at, framer.end
        self.read_buffer, self.max_read = framer.read_buffer, framer.max_read

    def reset(self):
        """Forget all bytes, because the connection is lost."""
        super().reset()
        if self._left >= 0:
            self._left = -1
            self._give(None)

    def next_packet(self):
        """Return what `Framer.next_packet` returns, or -1 after a large message: then call it again."""
        if self._left < 0:
            found = super().next_packet()
            if found != 0x95:
                return found
            found = self._begin()
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
            with self._session.catch_errors:
                take(piece)
                return
            self._take = None  # `take` has raised

    def _acknowledge(self):
        """Acknowledge the message, as `core.inbound.handle_publish` does."""
        session = self._session
        qos = self._first_byte >> 1 & 3
        reason = 0 if self._take or self._is_duplicate else 0x97
        if session._handler_failed:
            reason = 0x80
        self._take = None
        if qos == 2 and not reason and not self._is_duplicate:
            replace_received_id(session, 0, self._packet_id)
        if qos and session.state == CONNECTED:
            session.ack(0x30 + 0x10 * qos, self._packet_id, reason)

    def _begin(self):
        """Begin a packet that is larger than `rx`, if its topic and properties have arrived.

        Returns 0, or the reason code of the error.
        """
        rx, session = self.rx, self._session
        at = self._at + 1
        size = get_varint(rx, at, self._have)
        at += varint_size(size)
        end = at + size
        self.first_byte = rx[self._at]
        if session.state != CONNECTED:
            return 0x82  # [MQTT-3.2.0-1]
        if self.first_byte >> 4 != 3 or end - self._at > session.maximum_packet_size:
            return 0x95
        payload = at + 2
        if payload > self._have:
            return 0
        payload += get_u16(rx, at) + (2 if self.first_byte & 6 else 0)
        size = get_varint(rx, payload, self._have) if payload < self._have else -1
        if size == -2:
            return 0x81
        if size >= 0:
            payload += varint_size(size) + size
        if payload > end:
            return 0x81
        if size < 0 or payload > self._have:
            # an error if `rx` is full and the header is still incomplete
            return 0x95 if max(payload, self._have + 1) - self._at > len(rx) else 0
        packet = session.packet
        reason = packet.parse(self.first_byte, at, payload) or resolve_topic(session, packet)
        if reason:
            return reason
        packet_id = packet.packet_id
        self._is_duplicate = packet.qos == 2 and replace_received_id(session, packet_id, packet_id)
        if packet.qos == 2 and not self._is_duplicate and not replace_received_id(session, 0, 0):
            return 0x93
        session._handler_failed = False
        session.messages_received += 1
        self._first_byte = self.first_byte
        self._packet_id = packet_id
        self._left = end - payload
        self._at = payload
        if not self._is_duplicate:
            self._find_sink(packet)
        return 0

    def _find_sink(self, packet):
        for subscription, begin in self.sinks:
            if not subscription.is_removed and subscription.matches(packet):
                with self._session.catch_errors:
                    self._take = begin(packet, self._left)
                return
