"""Enhanced authentication (section 4.12): AUTH packets at CONNECT, and re-authentication.

The client uses this module if `client.auth` is set to a method, for example an object of `scram.Scram`. A
method is an object with these members:

- `method`: its name, a str that does not change.
- `start()`: begins an exchange; returns the first data (bytes), or b"" if the broker sends the first data.
- `challenge(data)`: returns the response (bytes) to the broker's data, or None if the response takes long to
  compute. In that case each poll calls `work()`, which does a part of the work and returns None until it has
  the response.
- `finish(data)`: receives the broker's data when the broker reports success. To refuse the broker, this
  method raises an exception.

If one of these methods raises an exception, the connection ends with 0x80, Unspecified error, and
`client.error` has the text of the exception.
"""

from errno import ECONNRESET

from micropython import const

from ..core.encode import prefix_varint_length
from ..core.errors import CatchErrors, MQTTError
from ..core.states import (
    CLOSING,
    CONNECTED,
    CONNECTING,
    MAXIMUM_PACKET_SIZE,
    TX_RESERVE,
    WAIT_AUTH,
    WAIT_CONNACK,
)
from ..core.wire import encode_text, prefix_u16_length

_MASK = const(0x3FFFFFFF)
_SUCCESS = const(0x00)
_CONTINUE = const(0x18)  # Continue authentication
_AGAIN = const(0x19)  # Re-authenticate


class EnhancedAuth:
    """Authentication of one client with one method; `poll` is a poll hook."""

    def __init__(self, client, method):
        self.method = method
        self.is_running = False  # whether an exchange has begun and not ended
        self.properties = client.session.properties  # properties of CONNECT, without those of the auth method
        self._client = client
        self._session = client.session
        self._catch_errors = CatchErrors(MQTTError, self._refuse)
        self._name = b"\x15" + prefix_u16_length(encode_text(method.method))
        self._is_working = False  # whether `work` has to be called
        self.is_due = False  # whether an answer to a re-authentication is due
        self._waiting = None  # an AUTH packet that waits for room in `tx`

    def _refuse(self, error):
        """End the connection with this MQTTError."""
        self._session.error = error
        self._session.close(error.code)

    # ---- connecting

    def handle_open(self):
        """Begin the exchange, before CONNECT is encoded."""
        self._is_working = self.is_due = False
        self._waiting = None
        self.is_running = True
        try:
            self._session.properties = self.properties + self._begin()
        except MQTTError as error:
            self._session.error = error
            self._session.state = CLOSING  # so that nothing is written

    def connack(self, packet):
        """Finish the exchange at a successful CONNACK; return True if the connection must end."""
        with self._catch_errors:
            if not self.is_running or self._is_working or self._waiting:
                raise MQTTError(0x82, "CONNACK before the end of the authentication")
            self._finish(packet)
            return False
        return True

    # ---- connected

    def reauthenticate(self):
        """Begin a re-authentication. Raises MQTTError if the packet is too large."""
        packet = self._packet(_AGAIN, self._begin())  # [MQTT-4.12.1-1]
        self.is_running = True
        self._send(packet)
        self._client._flush_now()

    def receive(self, packet):
        """Handle an AUTH packet; return 0, or -1 if the connection ends."""
        with self._catch_errors:
            self._receive(packet)
            return 0
        return -1

    def _receive(self, packet):
        session = self._session
        if not self.is_running or self._is_working or self._waiting:
            raise MQTTError(0x82, "unexpected AUTH")
        live = session.state == CONNECTED
        session.wait_started[WAIT_AUTH if live else WAIT_CONNACK] = -1
        self.is_due = False
        if packet.reason == _CONTINUE:
            self._check_method(packet)
            self._respond(self._call("challenge", packet.property(0x16) or b""))
        elif live and packet.reason == _SUCCESS:
            self._finish(packet)
        else:  # [MQTT-4.12.0-2], [MQTT-3.15.2-1]
            raise MQTTError(0x82, "unexpected AUTH 0x%02X" % packet.reason)

    def poll(self, now):
        """Continue the work, or send the waiting packet; return the ms until there is more to do."""
        if self._is_working or self._waiting:
            if self._session.state == CONNECTING or self._session.state == CONNECTED:
                return self._go_on()
        return _MASK

    def _go_on(self):
        session = self._session
        with self._catch_errors:
            if session.state == CONNECTING:
                session.wait_started[WAIT_CONNACK] = -1  # no timeout while the broker waits for the client
            if self._is_working:
                self._respond(self._call("work"))
            elif session.put(self._waiting):
                self._waiting = None
        self._client._flush_now()
        return _MASK if self._waiting else 0

    # ---- packets

    def _begin(self):
        return self._name + b"\x16" + prefix_u16_length(self._call("start"))

    def _call(self, name, *data):
        """Call the function `name` of the auth method; return bytes or None. Raises MQTTError if it fails."""
        try:
            result = getattr(self.method, name)(*data)
            return result if result is None or name == "finish" else bytes(result)
        except Exception as error:
            raise MQTTError(0x80, str(error))  # [MQTT-4.12.1-2]

    def _respond(self, data):
        self._is_working = data is None
        if not self._is_working:
            # [MQTT-4.12.0-3]
            self._send(self._packet(_CONTINUE, self._name + b"\x16" + prefix_u16_length(data)))

    def _packet(self, reason, properties):
        """Return an AUTH packet (3.15). Raises MQTTError if it is too large for `tx` or the broker."""
        packet = prefix_varint_length(bytes((reason,)) + prefix_varint_length(properties), b"\xf0")
        session = self._session
        if session.state == CONNECTED and len(packet) > session.broker_limits[MAXIMUM_PACKET_SIZE]:
            raise MQTTError(0x95, "AUTH of %d bytes" % len(packet))
        if len(packet) + TX_RESERVE > len(session.tx):
            needed = len(packet) + TX_RESERVE
            text = "AUTH of %d bytes: tx is %d, pass tx=%d or more"
            raise MQTTError(0x83, text % (len(packet), len(session.tx), needed))
        return packet

    def _send(self, packet):
        if self._session.state == CONNECTED:
            self.is_due = self._session._is_waiting = True
        if not self._session.put(packet):
            self._waiting = packet

    def _finish(self, packet):
        self._check_method(packet)
        self._call("finish", packet.property(0x16) or b"")
        self.is_running = False

    def _check_method(self, packet):
        if packet.property(0x15) != self.method.method:  # [MQTT-4.12.0-5]
            raise MQTTError(0x82, "wrong authentication method")


def attach(client, method):
    """Let a client use this authentication method from its next connection on; None removes the method.

    Raises ValueError if the client is connected.
    """
    session = client.session
    if session.auth and session.auth.method is method:
        return
    if session.state:
        raise ValueError("set auth before connect")
    if session.auth:
        client._poll_hooks.remove(session.auth.poll)
        session.properties = session.auth.properties
        session.auth = None
    if method:
        session.auth = EnhancedAuth(client, method)
        client._poll_hooks.append(session.auth.poll)


def reauthenticate(client, wait):
    """Authenticate again during a connection; see `Client.reauthenticate`."""
    session = client.session
    if not client.auth:
        raise ValueError("client.auth is not set")  # [MQTT-4.12.0-7]
    if session.state != CONNECTED or not session.auth or session.auth.is_running:
        return False
    connects = client.connection_count
    with client.session:
        session.auth.reauthenticate()
    if wait and not client._is_polling:
        while session.auth.is_running and client.is_connected and client.connection_count == connects:
            client._wait(min(client._poll_once(), client.timeout))
        if client.connection_count != connects or not client.is_connected:
            raise client.error or OSError(ECONNRESET, "connection lost")
    return True
