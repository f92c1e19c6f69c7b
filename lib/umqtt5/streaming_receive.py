"""Payloads larger than the buffers, in as pieces: the half of `stream` that receives."""

from .core.framer import Framer
from .core.inbound import replace_received_id, resolve_topic
from .core.states import CONNECTED
from .core.wire import get_u16, get_varint, varint_size


def receive(client, topic_filter, begin, qos=1, max_size=65536):
    """Subscribe to messages of up to `max_size` bytes of packet, which come in pieces.

    `begin(message, size)` is called when the topic and the properties of one are there, and
    returns a function `take(piece)`, or None for a message that is not wanted. `take` is
    called with bytes as they come (they lie in the receive buffer: copy what you keep), with
    an empty piece when the message is complete, and with None where the link was lost before.
    When `take` has returned from the empty piece the message is acknowledged; where it or
    `begin` raises, with 0x80, and QoS 2 then takes it again.

    To be called before `connect`: the broker is told `max_size` (Maximum Packet Size). A message
    that is larger than `rx` and that nobody here takes is read, thrown away, and acknowledged
    with 0x97, Quota exceeded. Topic and properties have to fit into `rx`: 0x95 ends the link else.
    """
    session = client.session
    if not isinstance(session.framer, _StreamFramer):
        session.framer = _StreamFramer(session)
    session.maximum_packet_size = max(session.maximum_packet_size, max_size)
    subscription = client.subscribe(topic_filter, lambda message: _whole(message, begin), qos)
    session.framer.sinks.append((subscription, begin))
    return subscription


def _whole(message, begin):
    """A message that fits into `rx`."""
    take = begin(message, len(message))
    if take:
        if len(message):
            take(memoryview(message._buf)[message.payload_start : message.payload_end])
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

    def next_packet(self):
        """As `Framer.next_packet`; -1 where something was handled here, and there may be more."""
        if self._left < 0:
            found = super().next_packet()
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
            with self._session.catch_errors:
                take(piece)
                return
            self._take = None  # it has raised

    def _acknowledge(self):
        """As `Session._publish` does."""
        session = self._session
        qos = self._first_byte >> 1 & 3
        reason = 0 if self._take or self._again else 0x97
        if session._handler_failed:
            reason = 0x80
        self._take = None
        if qos == 2 and not reason and not self._again:
            replace_received_id(session, 0, self._packet_id)
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
            # where rx is full the head goes on behind it
            return 0x95 if max(payload, self._have + 1) - self._at > len(rx) else 0
        packet = session.packet
        reason = packet.parse(self.first_byte, at, payload) or resolve_topic(session, packet)
        if reason:
            return reason
        self._again = packet.qos == 2 and replace_received_id(session, packet.packet_id, packet.packet_id)
        if packet.qos == 2 and not self._again and not replace_received_id(session, 0, 0):
            return 0x93
        session._handler_failed = False
        session.messages_received += 1
        self._first_byte = self.first_byte
        self._packet_id = packet.packet_id
        self._left = end - payload
        self._at = payload
        if not self._again:
            self._choose(packet)
        return 0

    def _choose(self, packet):
        for subscription, begin in self.sinks:
            if not subscription.is_removed and packet.matches(subscription.match_filter):
                with self._session.catch_errors:
                    self._take = begin(packet, self._left)
                return
