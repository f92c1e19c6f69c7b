"""A scripted MQTT 5.0 broker in the world: sessions, retained messages, wills, and faults on request.

The functions that use the broker from outside call `publish` and add to `observers`; they need no connection.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from host_tests.chaos import packets
from host_tests.chaos.packets import Connect, Malformed, Message, Publish, Reader
from host_tests.chaos.world import SECOND, Event, World

if TYPE_CHECKING:
    from host_tests.chaos.network import Link

_MAX_QUEUED = 1000  # messages for a client that is not connected
_TOPIC_ALIASES = 16


class Session:
    """The session of a client."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.subscriptions: dict[str, tuple[int, int]] = {}  # (options, identifier) by topic filter
        self.queue: deque[Message] = deque()
        self.inflight: OrderedDict[int, Message] = OrderedDict()
        self.next_id = 1
        self.received_ids: set[int] = set()  # QoS 2 messages that are not released
        self.connection: Connection | None = None
        self.expiry: Event | None = None
        self.will_event: Event | None = None


class Connection:
    """A connection of a client; `connect` is None until CONNECT has arrived."""

    def __init__(self, broker: Broker, link: Link) -> None:
        self.broker = broker
        self.link = link
        self.buffer = bytearray()
        self.connect: Connect | None = None
        self.session: Session | None = None
        self.aliases: dict[int, str] = {}
        self.heard_at = broker.world.now
        self.is_open = True
        self.has_sent_garbage = False  # whether a fault has sent random bytes to the device

    def receive(self, data: bytes) -> None:
        """Handle bytes of the device."""
        self.buffer += data
        self.heard_at = self.broker.world.now
        if self.session:
            self.broker.heard_at = self.heard_at
        try:
            while self.is_open and (found := packets.split(self.buffer)) is not None:
                self.broker.handle(self, *found)
        except Malformed as error:
            self.report_violation(f"malformed packet: {error}")
            self.close()

    def report_violation(self, text: str) -> None:
        """Report that the device has violated the protocol, or says that the broker has.

        After random bytes it may do so for as long as the connection lasts: they may be the beginning of a
        packet that is complete much later.
        """
        if not self.has_sent_garbage:
            self.broker.on_violation(text)

    def send(self, data: bytes) -> None:
        if self.is_open:
            self.link.send_to_device(data)

    def close(self, keep_will: bool = True) -> None:
        """Close the connection; the will is published unless the client has disconnected properly."""
        if not self.is_open:
            return
        self.is_open = False
        self.link.close_by_broker()
        self.broker.on_closed(self, keep_will)


class Broker:
    """The broker. `observers` are called with each message that the device publishes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_up = True
        self.refusal = 0  # reason code of CONNACK while it refuses, 0 if it accepts
        self.receive_maximum = 20
        self.sessions: dict[str, Session] = {}
        self.retained: dict[str, Message] = {}
        self.connections: list[Connection] = []
        self.observers: list[Callable[[Publish], None]] = []
        self.on_violation: Callable[[str], None] = lambda text: None
        self.on_connected: Callable[[bool], None] = lambda resumed: None
        self.on_delivered: Callable[[Message], None] = lambda message: None
        self.user: tuple[str, str] | None = None
        self.connects = 0
        self.heard_at = 0  # time at which a connected client has sent something
        world.after(SECOND, self._check_keep_alive)

    # ---- outside

    def publish(self, message: Message) -> None:
        """Publish a message to all subscribers."""
        if message.retain:
            if message.payload:
                self.retained[message.topic] = message
            else:
                self.retained.pop(message.topic, None)
        for session in self.sessions.values():
            for topic_filter, (options, identifier) in session.subscriptions.items():
                if matches(topic_filter, message.topic):
                    self._queue(session, message, options, identifier, False)

    def is_connected(self, client_id: str) -> bool:
        session = self.sessions.get(client_id)
        return session is not None and session.connection is not None

    def accept(self, link: Link) -> Connection:
        connection = Connection(self, link)
        self.connections.append(connection)
        return connection

    def stop(self, keep_sessions: bool, is_silent: bool) -> None:
        """Stop; `is_silent` means that the host is gone, so that no connection is closed."""
        self.is_up = False
        for connection in list(self.connections):
            if is_silent:
                connection.link.cut_off()
            connection.is_open = False
            connection.link.close_by_broker()
            self.on_closed(connection, False)
        if not keep_sessions:
            for session in self.sessions.values():
                self._cancel(session)
            self.sessions.clear()
            self.retained.clear()

    def close_all(self) -> None:
        for connection in list(self.connections):
            connection.close()

    # ---- packets

    def handle(self, connection: Connection, first: int, body: bytes) -> None:
        """Handle a packet of a client. Raises Malformed."""
        kind = first & 0xF0
        if kind == 0x10:
            if connection.connect:
                raise Malformed("second CONNECT")
            self._connect(connection, packets.parse_connect(body))
            return
        session = connection.session
        if not session:
            raise Malformed("no CONNECT")
        if kind == 0x30:
            self._receive_publish(connection, packets.parse_publish(first, body))
        elif kind == 0x80:
            self._subscribe(connection, session, body)
        elif kind == 0xA0:
            self._unsubscribe(connection, session, body)
        elif kind == 0xC0:
            connection.send(b"\xd0\x00")
        elif kind == 0xE0:
            self._disconnect(connection, body)
        else:
            self._handle_acknowledgement(connection, session, kind, body)

    def _disconnect(self, connection: Connection, body: bytes) -> None:
        if body and body[0] >= 0x80:
            connection.report_violation(f"DISCONNECT with reason 0x{body[0]:02x}")
        connection.close(keep_will=bool(body) and body[0] != 0)

    def _handle_acknowledgement(
        self, connection: Connection, session: Session, kind: int, body: bytes
    ) -> None:
        if kind in (0x40, 0x70):
            self._acknowledge(session, int.from_bytes(body[:2], "big"))
        elif kind == 0x60:
            session.received_ids.discard(int.from_bytes(body[:2], "big"))
            connection.send(packets.packet(0x70, body[:2]))
        elif kind != 0x50:
            raise Malformed(f"packet 0x{kind:02x}")

    def _connect(self, connection: Connection, connect: Connect) -> None:
        connection.connect = connect
        self.connects += 1
        reason = self.refusal
        if self.user and (connect.user, (connect.password or b"").decode()) != self.user:
            reason = 0x86
        if reason:
            connection.send(packets.packet(0x20, bytes([0, reason, 0])))
            connection.is_open = False
            connection.link.close_by_broker()
            self.on_closed(connection, False)
            return
        old = self.sessions.get(connect.client_id)
        if old and old.connection:
            old.connection.close(keep_will=False)
        if old and connect.clean_start:
            self._cancel(old)
            old = None
        resumed = old is not None
        session = old or Session(connect.client_id)
        self.sessions[connect.client_id] = session
        self._cancel(session)
        session.connection, connection.session = connection, session
        properties = b"\x22" + _TOPIC_ALIASES.to_bytes(2, "big")
        properties += b"\x21" + self.receive_maximum.to_bytes(2, "big")
        connection.send(packets.packet(0x20, bytes([resumed, 0, len(properties)]) + properties))
        self.on_connected(resumed)
        for number, message in session.inflight.items():
            self._send_publish(connection, message, number, True)
        self._send_queued(session)

    def on_closed(self, connection: Connection, keep_will: bool) -> None:
        """Detach a closed connection from its session; start the delays of will and session."""
        if connection in self.connections:
            self.connections.remove(connection)
        session, connect = connection.session, connection.connect
        if not session or not connect or session.connection is not connection:
            return
        session.connection = None
        if keep_will and connect.will:
            will = connect.will
            delay = min(connect.will_delay, connect.session_expiry) * SECOND
            session.will_event = self.world.after(delay, lambda: self.publish(will))
        session.expiry = self.world.after(
            connect.session_expiry * SECOND, lambda: self.sessions.pop(session.client_id, None)
        )

    def _cancel(self, session: Session) -> None:
        for event in (session.expiry, session.will_event):
            if event:
                event.cancel()
        session.expiry = session.will_event = None

    def _check_keep_alive(self) -> None:
        for connection in list(self.connections):
            seconds = connection.connect.keep_alive if connection.connect else 20
            if seconds and self.world.now - connection.heard_at > seconds * 1500:
                connection.close()
        self.world.after(5 * SECOND, self._check_keep_alive)

    # ---- messages from the device

    def _receive_publish(self, connection: Connection, publish: Publish) -> None:
        session = connection.session
        assert session
        if 0x23 in publish.properties:
            alias = int.from_bytes(publish.properties[0x23][0], "big")
            if not 0 < alias <= _TOPIC_ALIASES:
                raise Malformed(f"topic alias {alias}")
            if publish.topic:
                connection.aliases[alias] = publish.topic
            elif alias in connection.aliases:
                publish.topic = connection.aliases[alias]
            else:
                raise Malformed(f"unknown topic alias {alias}")
        if not publish.topic:
            raise Malformed("no topic")
        is_new = publish.qos < 2 or publish.packet_id not in session.received_ids
        if publish.qos == 1:
            connection.send(packets.packet(0x40, publish.packet_id.to_bytes(2, "big")))
        elif publish.qos == 2:
            session.received_ids.add(publish.packet_id)
            connection.send(packets.packet(0x50, publish.packet_id.to_bytes(2, "big")))
        if is_new:
            for observer in self.observers:
                observer(publish)
            self.publish(Message(publish.topic, publish.payload, publish.qos, publish.retain))

    # ---- messages to the device

    def _subscribe(self, connection: Connection, session: Session, body: bytes) -> None:
        reader = Reader(body)
        number = reader.take(2)
        properties, _ = reader.properties()
        identifier = Reader(properties[0x0B][0]).varint() if 0x0B in properties else 0
        reasons, retained = bytearray(), []
        while reader.at < len(body):
            topic_filter, options = reader.string(), reader.number(1)
            is_new = topic_filter not in session.subscriptions
            session.subscriptions[topic_filter] = options, identifier
            reasons.append(options & 3)
            handling = options >> 4 & 3
            if handling == 0 or (handling == 1 and is_new):
                retained += [
                    (message, options, identifier)
                    for topic, message in self.retained.items()
                    if matches(topic_filter, topic)
                ]
        connection.send(packets.packet(0x90, number + b"\0" + reasons))
        for message, options, identifier in retained:
            self._queue(session, message, options, identifier, True)

    def _unsubscribe(self, connection: Connection, session: Session, body: bytes) -> None:
        reader = Reader(body)
        number = reader.take(2)
        reader.properties()
        reasons = bytearray()
        while reader.at < len(body):
            reasons.append(0 if session.subscriptions.pop(reader.string(), None) else 0x11)
        connection.send(packets.packet(0xB0, number + b"\0" + reasons))

    def _queue(
        self, session: Session, message: Message, options: int, identifier: int, is_retained: bool
    ) -> None:
        qos = min(message.qos, options & 3, 1)
        properties = message.properties + (b"\x0b" + packets.varint(identifier) if identifier else b"")
        copy = Message(message.topic, message.payload, qos, is_retained, properties, message.expires_at)
        if qos:
            if len(session.queue) < _MAX_QUEUED:
                session.queue.append(copy)
            self._send_queued(session)
        elif session.connection:
            self._send_publish(session.connection, copy, 0, False)

    def _send_queued(self, session: Session) -> None:
        connection = session.connection
        while connection and connection.connect and session.queue:
            if len(session.inflight) >= connection.connect.receive_maximum:
                return
            message = session.queue.popleft()
            if message.expires_at is not None and message.expires_at <= self.world.now:
                continue
            while session.next_id in session.inflight:
                session.next_id = session.next_id % 65535 + 1
            number = session.next_id
            session.next_id = number % 65535 + 1
            session.inflight[number] = message
            self._send_publish(connection, message, number, False)

    def _send_publish(self, connection: Connection, message: Message, number: int, dup: bool) -> None:
        body = packets.string(message.topic)
        if message.qos:
            body += number.to_bytes(2, "big")
        body += packets.varint(len(message.properties)) + message.properties + message.payload
        data = packets.packet(0x30 | message.qos << 1 | message.retain | dup << 3, body)
        assert connection.connect
        if len(data) > connection.connect.max_packet:  # [MQTT-3.1.2-25]: dropped as if it were sent
            if number and connection.session:
                connection.session.inflight.pop(number, None)
            return
        self.on_delivered(message)
        connection.send(data)

    def _acknowledge(self, session: Session, number: int) -> None:
        session.inflight.pop(number, None)
        self._send_queued(session)


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether a topic matches a topic filter."""
    levels = topic.split("/")
    for i, level in enumerate(topic_filter.split("/")):
        if level == "#":
            return True
        if i >= len(levels) or level not in ("+", levels[i]):
            return False
    return len(levels) == topic_filter.count("/") + 1
