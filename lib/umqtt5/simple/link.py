"""The client below `simple.MQTTClient`: connect, send, wait, and deliver one message at a time.

umqtt.simple reads one packet per `wait_msg`, and programs depend on that: after it returns they look at the
result of exactly one callback, and they poll the socket for the next message. So this client reads no byte
beyond the packet that it handles. The rest stays in the socket.

The callback does not run inside a round of the client, but after it. So it may call each method, also
`wait_msg` and `connect`, and an exception leaves `wait_msg` as in umqtt.simple.
"""

import gc
from errno import ECONNRESET, ENOTCONN, ETIMEDOUT

from micropython import const

from ..core.client import Client
from ..core.errors import MQTTError
from ..core.inbound import replace_received_id
from ..core.states import WAIT_CONNACK, WAIT_PING
from .settings import apply_settings, connack_code, make_transport, to_str

_MASK = const(0x3FFFFFFF)
_FOREVER = const(0x1FFFFFFF)  # ms, about six days
_NEVER_EXPIRES = 0xFFFFFFFF  # Session Expiry Interval
_BETWEEN_PACKETS = const(2)  # bytes of the shortest packet
_LOST = const(0x18)  # POLLERR and POLLHUP


class SimpleLink:
    """State of a `simple.MQTTClient` that must not collide with attributes of a subclass."""

    def __init__(self, mqtt, exception):
        self._mqtt = mqtt
        self._exception = exception  # MQTTException
        self.client = None
        self._socket = None
        self._has_socket = False  # whether `sock` is an object, which begins with the first `connect`
        self._error = None  # error that ended the connection
        self.connected_at = -1  # ticks when the last connection began
        self.timeout = None  # s, timeout of the socket: None to wait for ever, 0 if it is non-blocking
        self._max_wait = 10000  # ms
        self.acks = {}  # reason codes by packet identifier of what `publish` sent, -1 before the answer
        self._message = None  # message that was received and not passed to the callback
        self._unacked = []  # messages whose callback runs
        self._packet = 0  # first byte of the packet that the last round has handled
        self._pings = 0  # number of answers to `ping` that are due

    # ---- connect and disconnect

    def connect(self, clean_session, timeout):
        """Connect; see `simple.MQTTClient.connect`."""
        mqtt = self._mqtt
        self.disconnect()
        if clean_session or (self.client and self.client._is_polling):
            self.client = None
        options = {"rx": 2048, "tx": 2048, "outbox": 4096, "timeout": 10000}
        options.update(mqtt.umqtt5_options)
        self._max_wait = options["timeout"]
        transport = make_transport(mqtt, options.pop("transport", None))
        if self.client is None:
            self._make_client(options)
        client = self.client
        session = client.session
        client._transport = transport
        apply_settings(mqtt, client)
        session.clean_start = bool(clean_session)
        session.session_expiry = 0 if clean_session else _NEVER_EXPIRES
        self.timeout = timeout
        client.timeout = session.timeouts[WAIT_CONNACK] = self._limit()
        self._error = self._message = None
        self._pings = 0
        self._has_socket = True
        client.on_state = self._on_state
        try:
            client.connect()
        except MQTTError as error:
            raise self._exception(connack_code(error.code), error.code)
        return int(session.resumed)

    def _make_client(self, options):
        gc.collect()  # the buffers of the previous client are free now
        mqtt = self._mqtt
        server = mqtt.server if isinstance(mqtt.server, (list, tuple)) else ""  # see `apply_settings`
        client = self.client = Client(server, int(mqtt.port), transport=print, **options)
        self.acks = {}
        session = client.session
        client.on_ack = self._on_ack
        self._originals = (session.framer.prepare_read, session.framer.next_packet, session.tick)
        session.framer.prepare_read = self._prepare_read
        session.framer.next_packet = self._next_packet
        session.tick = self._tick
        # all messages go to the callback, including those of a session that an earlier program began
        session.subscriptions.dispatch = self._on_message

    def disconnect(self):
        """Acknowledge the messages whose callback runs, send DISCONNECT, and close the connection."""
        client = self.client
        if client:
            client.on_state = None
            while self._unacked:
                self._acknowledge(self._unacked.pop(0), 0)
            client.disconnect()
            self._error = None

    def drop(self):
        """Close the connection without a DISCONNECT, as the loss of the network does."""
        if self.client and self.client.stream is not None:
            self.client._on_link_lost(OSError(ENOTCONN, "closed by the program"))

    # ---- the socket

    def get_socket(self):
        """Return the value of `MQTTClient.sock`."""
        if self._has_socket and self._socket is None:
            from ..optional.simple_socket import Socket

            self._socket = Socket(self)
        return self._socket if self._has_socket else None

    def set_socket(self, value):
        """Close the connection if `value` is None. Raises TypeError for other values."""
        if value:
            raise TypeError("sock can only be set to None, see umqtt5_options for a transport")
        self.drop()
        self._has_socket = False

    # ---- messages out

    def send(self, topic, msg, retain, qos):
        """Publish; returns True at QoS 0, the packet identifier of a message in the outbox at QoS 1 and 2."""
        self.require()
        topic = to_str(topic)
        start = self.client._ticks_ms()
        while True:
            try:
                packet_id = self.client.publish(topic, msg, qos, retain)
            except MQTTError as error:
                raise self._exception(error.code)
            if packet_id:
                break
            self._round()
            self._wait_until(start, "the broker reads no more bytes")
        if qos:
            self._mqtt.pid += 1
            self.acks[packet_id] = -1
        else:
            self._finish_write(start)
        return packet_id

    def _finish_write(self, start):
        """Return when all bytes are written. Raises OSError if the connection was lost meanwhile."""
        client = self.client
        if self._is_working():
            return
        while client.session.has_output():
            self._wait_until(start, "the broker reads no more bytes")
            self._round()
        # A broker that has closed the connection does not read the message, although the network accepts it.
        # This round reads at most two bytes, so it finds the end of the connection, but delivers no message.
        if client.session.framer.max_read == _BETWEEN_PACKETS:
            self._round()
        elif client.stream is not None:
            for _, events in client._poller.ipoll(0):
                if events & _LOST:
                    client._on_link_lost(OSError(ECONNRESET, "closed by the broker"))
        self.raise_error()

    def wait_for_ack(self, packet_id):
        """Wait for the acknowledgement of a message, except in the callback."""
        self._wait_for(lambda: self.acks.get(packet_id, 0) >= 0, "no acknowledgement")
        reason = self.acks.pop(packet_id, 0)
        if reason >= 0x80:
            raise self._exception(reason)

    def subscribe(self, topic, qos):
        """Subscribe and wait for SUBACK, except in the callback."""
        client = self.require()
        subscription = client.subscribe(to_str(topic), _ignore, qos)
        self._mqtt.pid += 1
        with client.session:
            client._flush_now()
        self._wait_for(lambda: subscription.reason is not None, "no SUBACK")
        if (subscription.reason or 0) >= 0x80:
            raise self._exception(0x80, subscription.reason)

    def unsubscribe(self, topic):
        """Unsubscribe and wait for UNSUBACK, except in the callback."""
        client = self.require()
        subscription = client.unsubscribe(to_str(topic))
        self._mqtt.pid += 1
        with client.session:
            client._flush_now()
        self._wait_for(lambda: subscription.is_removed, "no UNSUBACK")

    def ping(self):
        """Send PINGREQ."""
        client = self.require()
        with client.session:
            if client.session.put(b"\xc0\x00"):
                self._pings += 1
                client.session.ping_pending = True
                client._flush_now()
        self.raise_error()

    # ---- messages in

    def wait_msg(self):
        """Handle packets until one is a message or the answer to `ping`; see `simple.MQTTClient.wait_msg`."""
        client = self.require()
        if self._is_working():
            raise RuntimeError("the client is busy: wait_msg was interrupted")
        start = client._ticks_ms()
        while True:
            packet = self._round()
            if packet:
                self.timeout = None
                return packet if packet < 0x40 else None
            timeout = self.timeout
            if not self._wait(start, _FOREVER if timeout is None else int(timeout * 1000)):
                if timeout:
                    raise OSError(ETIMEDOUT, "no message")
                if timeout == 0:
                    self.timeout = None
                    return None
                start = self.client._ticks_ms()

    def _deliver(self):
        """Call the callback with the message that the last round has received, then acknowledge it."""
        message = self._message
        if message is None:
            return
        self._message = None
        self._unacked.append(message)
        reason = -1
        try:
            self._mqtt.cb(message[0], message[1])
            reason = 0
        except Exception:
            reason = 0x80  # as in `Client`: a message whose handler fails is refused
            raise
        finally:
            if message in self._unacked:  # otherwise `disconnect` has acknowledged it
                self._unacked.remove(message)
                if reason >= 0:
                    self._acknowledge(message, reason)

    def _acknowledge(self, message, reason):
        _, _, qos, packet_id, generation, session = message
        if not qos or session.generation != generation:
            return
        if qos == 2 and not reason:
            replace_received_id(session, 0, packet_id)
        packet = bytes((0x30 + 0x10 * qos, 3 if reason else 2, packet_id >> 8, packet_id & 0xFF))
        with self.client.session:
            session.put(packet + (bytes((reason,)) if reason else b""), 3)
            self.client._flush_now()

    # ---- rounds and waits

    def require(self):
        """Return the client. Raises the error that ended the connection, or OSError without a connection."""
        if self._error is None and (self.client is None or not self.client.is_connected):
            raise OSError(ENOTCONN, "not connected")
        self.raise_error()
        return self.client

    def _is_working(self):
        """Return True in a round of the client, and in a scheduled function that interrupts the client."""
        return self.client._is_polling or self.client.session.is_busy

    def raise_error(self):
        """Raise the error that ended the connection, if there is one."""
        if self._error is not None:
            raise self._error

    def _round(self):
        """Run one round; returns the first byte of a message or of an answer to `ping`, otherwise 0."""
        client = self.client
        if self._is_working():
            return 0
        if self._message:  # `publish` has received it
            self._deliver()
            return 0x30
        self._packet = 0
        client._poll_once()
        packet = self._packet
        if packet == 0xD0 and self._pings:
            self._pings -= 1
        elif packet & 0xF0 != 0x30:
            packet = 0
        self._deliver()
        self.raise_error()
        return packet

    def _wait(self, start, limit):
        """Wait until the next round is due; returns False if `limit` ms have passed since `start`."""
        client = self.client
        left = limit - ((client._ticks_ms() - start) & _MASK)
        if left <= 0:
            # a packet that has begun to arrive is read to its end
            return not limit and not client._idle and not self._is_working()
        client._wait(min(client._idle, left))
        return True

    def _wait_until(self, start, text):
        """Wait until the next round is due. Raises OSError if the time limit is over."""
        if self._is_working() or not self._wait(start, self._limit()):
            raise OSError(ETIMEDOUT, text)

    def _wait_for(self, is_done, text):
        """Run rounds until `is_done()`, except in the callback. Raises OSError if the time limit is over."""
        start = self.client._ticks_ms()
        while not (self._unacked or self._is_working() or is_done()):
            self._round()
            if not is_done():
                self._wait_until(start, text)
        self.timeout = None

    def _limit(self):
        """Return the maximum of a wait in ms."""
        return int(self.timeout * 1000) if self.timeout else self._max_wait

    # ---- called by the client

    def _on_state(self, client, connected, error):
        if connected:
            self.connected_at = client._ticks_ms()
            return
        client._should_connect = False  # the program itself must connect again
        if isinstance(error, MQTTError):
            error = OSError(ECONNRESET, str(error))
        self._error = error or OSError(ECONNRESET, "closed")

    def _on_ack(self, answer):
        if answer.packet_id in self.acks:
            self.acks[answer.packet_id] = answer.reason

    def _on_message(self, packet):
        """Store a message for `_deliver`, and keep the session from acknowledging it now."""
        topic = bytes(memoryview(packet.topic_buf)[packet.topic_start : packet.topic_end])
        session = self.client.session
        self._message = (topic, packet.payload, packet.qos, packet.packet_id, session.generation, session)
        packet.qos = 0

    def _prepare_read(self):
        """Read the first two bytes of the next packet, then its rest. No packet is shorter."""
        framer = self.client.session.framer
        self._originals[0]()
        if framer.read_buffer is framer.rx:
            framer.max_read = _BETWEEN_PACKETS

    def _next_packet(self):
        framer = self.client.session.framer
        result = self._originals[1]()
        if result == 1:
            self._packet = framer.first_byte
        return result

    def _tick(self, now):
        """Check the timeouts, but do not expect PINGRESP while the packets before it are being read."""
        session = self.client.session
        if (now - session._last_read) & _MASK < 100:
            session.wait_started[WAIT_PING] = -1
        return self._originals[2](now)


def _ignore(message):
    """Handler of the subscriptions; `dispatch` is replaced."""
