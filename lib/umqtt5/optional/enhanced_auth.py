"""Enhanced authentication (section 4.12): AUTH both ways, at CONNECT and in a live connection.

Loaded where `client.auth` is set to a method; `scram.Scram` is one. A method is an object with

- `method`: its name, a str, which stays the same,
- `start()`: an exchange begins; returns the first data, bytes, b"" where the broker speaks first,
- `challenge(data)`: the answer to the broker's data, bytes; None where that takes long. Then
  `work()` is called at each poll, does a small piece, and returns None until it has the answer,
- `finish(data)`: the broker says that all is well; the last chance to disagree.

Any exception out of these ends the connection with 0x80, Unspecified error, and its text is told.
"""

from errno import ECONNRESET

from micropython import const

from ..core.encode import prefix_varint_length
from ..core.errors import CatchErrors, MQTTError
from ..core.states import CLOSING, CONNECTED, CONNECTING, MAXIMUM_PACKET_SIZE, WAIT_ACK, WAIT_CONNACK
from ..core.wire import encode_text, prefix_u16_length

_MASK = const(0x3FFFFFFF)
_SUCCESS = const(0x00)
_CONTINUE = const(0x18)
_AGAIN = const(0x19)


class EnhancedAuth:
    """Drives a method over the session of a client; its `poll` is one of the client's chores."""

    def __init__(self, client, method):
        self.method = method
        self.is_running = False  # an exchange is under way
        self.properties = client.session.properties  # of the CONNECT, beside ours
        self._client = client
        self._session = client.session
        self._catch_errors = CatchErrors(MQTTError, self._refused)
        self._name = b"\x15" + prefix_u16_length(encode_text(method.method))
        self._working = False  # the method has yet to answer
        self._waiting = None  # an AUTH for which there was no room

    def _refused(self, error):
        self._session.error = error
        self._session.close(error.code)

    # ---- a connection begins

    def handle_open(self):
        """CONNECT is about to be made."""
        self._working = False
        self._waiting = None
        self.is_running = True
        try:
            self._session.properties = self.properties + self._begin()
        except MQTTError as error:
            self._session.error = error
            self._session.state = CLOSING  # and nothing is written

    def connack(self, packet):
        """CONNACK with success: the exchange is over. True where the connection is refused."""
        with self._catch_errors:
            if not self.is_running or self._working or self._waiting:
                raise MQTTError(0x82, "authentication is not over")
            self._finish(packet)
            return False
        return True

    # ---- in a live connection

    def reauthenticate(self):
        """Begin once more. Raises MQTTError where the broker can't take the packet."""
        packet = self._packet(_AGAIN, self._begin())  # [MQTT-4.12.1-1]
        self.is_running = True
        self._send(packet)
        self._client._flush_now()

    def receive(self, packet):
        """AUTH has come. Returns 0, -1 where the connection is refused."""
        with self._catch_errors:
            self._receive(packet)
            return 0
        return -1

    def _receive(self, packet):
        session = self._session
        if not self.is_running or self._working or self._waiting:
            raise MQTTError(0x82, "an AUTH that nobody asked for")
        live = session.state == CONNECTED
        session.wait_started[WAIT_ACK if live else WAIT_CONNACK] = -1
        if live:
            session.pending_acks -= 1
        if packet.reason == _CONTINUE:
            self._same_method(packet)
            self._respond(self._call("challenge", packet.property(0x16) or b""))
        elif live and packet.reason == _SUCCESS:
            self._finish(packet)
        else:  # [MQTT-4.12.0-2], [MQTT-3.15.2-1]
            raise MQTTError(0x82, "AUTH 0x%02X" % packet.reason)

    def poll(self, now):
        """Go on with what takes long or had no room; the ms until there is more to do."""
        if self._working or self._waiting:
            if self._session.state == CONNECTING or self._session.state == CONNECTED:
                return self._go_on()
        return _MASK

    def _go_on(self):
        session = self._session
        with self._catch_errors:
            if session.state == CONNECTING:
                session.wait_started[WAIT_CONNACK] = -1  # it is we for whom the broker waits
            if self._working:
                self._respond(self._call("work"))
            elif session.put(self._waiting):
                self._waiting = None
        self._client._flush_now()
        return _MASK if self._waiting else 0

    # ---- below

    def _begin(self):
        return self._name + b"\x16" + prefix_u16_length(self._call("start"))

    def _call(self, name, *data):
        """Ask the user's method, for bytes or None: what it raises is told, and ends the connection."""
        try:
            answer = getattr(self.method, name)(*data)
            return answer if answer is None or name == "finish" else bytes(answer)
        except Exception as error:
            raise MQTTError(0x80, str(error))  # [MQTT-4.12.1-2]

    def _respond(self, data):
        self._working = data is None
        if not self._working:
            # [MQTT-4.12.0-3]
            self._send(self._packet(_CONTINUE, self._name + b"\x16" + prefix_u16_length(data)))

    def _packet(self, reason, properties):
        """An AUTH packet (3.15), where there is room for it in `tx` and in the broker."""
        packet = prefix_varint_length(bytes((reason,)) + prefix_varint_length(properties), b"\xf0")
        session = self._session
        if session.state == CONNECTED and len(packet) > session.broker_limits[MAXIMUM_PACKET_SIZE]:
            raise MQTTError(0x95, "AUTH of %d bytes" % len(packet))
        if len(packet) + 8 > len(session.tx):
            raise MQTTError(0x83, "tx: %d bytes needed" % (len(packet) + 8))
        return packet

    def _send(self, packet):
        if self._session.state == CONNECTED:
            self._session.pending_acks += 1
        if not self._session.put(packet):
            self._waiting = packet

    def _finish(self, packet):
        self._same_method(packet)
        self._call("finish", packet.property(0x16) or b"")
        self.is_running = False

    def _same_method(self, packet):
        if packet.property(0x15) != self.method.method:  # [MQTT-4.12.0-5]
            raise MQTTError(0x82, "another authentication method")


def attach(client, method):
    """Have a client authenticate by this method from its next connection on; None for not."""
    session = client.session
    if session.auth and session.auth.method is method:
        return
    if session.state:
        raise ValueError("auth is set before connect")
    if session.auth:
        client._poll_hooks.remove(session.auth.poll)
        session.properties = session.auth.properties
        session.auth = None
    if method:
        session.auth = EnhancedAuth(client, method)
        client._poll_hooks.append(session.auth.poll)


def reauthenticate(client, wait):
    """See `Client.reauthenticate`."""
    session = client.session
    if not client.auth:
        raise ValueError("client.auth is not set")  # [MQTT-4.12.0-7]
    if session.state != CONNECTED or not session.auth or session.auth.is_running:
        return False
    connects = client.connection_count
    session.auth.reauthenticate()
    if wait and not client._is_polling:
        while session.auth.is_running and client.is_connected and client.connection_count == connects:
            client._wait(client._poll_once())
        if client.connection_count != connects or not client.is_connected:
            raise client.error or OSError(ECONNRESET, "the link was lost")
    return True
