"""API compatible with umqtt.simple, over MQTT 5.0: only the import line of a program changes.

    from umqtt5.simple import MQTTClient

Unlike in umqtt.simple, each wait except `wait_msg` ends after `MQTTClient.TIMEOUT` ms with an OSError. With a
`keepalive`, the client sends pings while it waits for messages. Unacknowledged messages of QoS 1 and 2 are
sent again after `reconnect` or `connect(clean_session=False)`. `umqtt5.robust` reconnects by itself.

The amount of memory is fixed. `RX` is the size of the largest packet that the client can receive. CONNECT
announces it, so the broker does not send larger packets. `OUTBOX` is the size of the buffer for
unacknowledged messages of QoS 1 and 2. Both are attributes of the class: set them before you create a client.
"""

import sys
from errno import ECONNRESET, ENOTCONN, ETIMEDOUT

from micropython import const

from .core.client import Client
from .core.errors import MQTTError
from .core.wire import encode_text

if sys.implementation.name == "cpython":
    from .cpython.compat import sleep_ms
else:
    from time import sleep_ms

_MASK = const(0x3FFFFFFF)
_FOREVER = const(0x1FFFFFFF)  # ms, about six days
_NEVER_EXPIRES = 0xFFFFFFFF  # Session Expiry Interval


class MQTTException(Exception):
    """The broker refused a request.

    `args[0]` is the MQTT 5.0 reason code (section 2.4), not one of MQTT 3.1.1.
    """


class _Connected(Exception):
    """Ends a poll at CONNACK, so that `wait_msg` handles the packets that follow CONNACK."""

    keeps_link = True  # see `connection._EndLink`


class MQTTClient:
    """Client with the API of umqtt.simple. `ssl` is an SSLContext, see `tls.context`.

    `ssl=True` is supported for older programs. Then `ssl_params` may have `cadata`, `cert` and `key`; without
    `cadata` the broker's certificate is not checked.
    """

    RX = 2048  # bytes, receive buffer
    TX = 2048  # bytes, transmit buffer
    OUTBOX = 4096  # bytes, messages of QoS 1 and 2
    TIMEOUT = 10000  # ms, maximum of each wait
    TRANSPORT = None  # passed to `Client` as `transport`
    DELAY = 2  # seconds between two tries to reconnect
    DEBUG = False  # whether `log` prints

    def __init__(
        self,
        client_id,
        server,
        port=0,
        user=None,
        password=None,
        keepalive=0,
        ssl=None,
        ssl_params={},  # noqa: B006  as in umqtt.simple
    ):
        self.client_id = client_id
        self.server = server
        self.port = port or (8883 if ssl else 1883)
        self.user = user
        self.pswd = password
        self.keepalive = keepalive
        self.ssl = _context(ssl, ssl_params) if ssl else None
        self.cb = None
        self.lw_topic = self.lw_msg = None
        self.lw_qos = 0
        self.lw_retain = False
        self._client = None
        self._error = None  # error that ended the connection, or exception of the callback
        self._since = -1  # ticks when the connection began
        self._unreturned = 0  # number of messages for which `wait_msg` has not returned yet
        self._arguments = None  # arguments of the `publish` that waits for room
        self._subscription = None  # subscription whose SUBACK `subscribe` waits for
        self._packet_id = 0  # packet identifier of the message that `publish` waits for
        self._reason = 0  # reason code in the acknowledgement of that message, -1 until it arrives

    @property
    def sock(self):
        """The stream, for `select.poll`; None without a connection."""
        return self._client and self._client.stream

    def set_callback(self, f):
        """Set the function `f(topic, msg)` to call for each message; both arguments are bytes."""
        self.cb = f

    def set_last_will(self, topic, msg, retain=False, qos=0):
        """Set the will for the next `connect`."""
        assert 0 <= qos <= 2
        assert topic
        self.lw_topic = topic
        self.lw_msg = msg
        self.lw_qos = qos
        self.lw_retain = retain

    def connect(self, clean_session=True, timeout=None):
        """Connect; returns True if the broker has kept the session. `timeout` is in seconds.

        Raises MQTTException if the broker refuses the connection, OSError if no connection is possible.
        """
        client = self._client
        if client is None or clean_session:
            self.disconnect()
            client = self._client = self._make_client()
            client.session.clean_start = bool(clean_session)
        client.session.session_expiry = 0 if clean_session else _NEVER_EXPIRES
        if self.lw_topic:
            client.will(self.lw_topic, self.lw_msg, self.lw_qos, self.lw_retain)
        client.timeout = timeout * 1000 if timeout else self.TIMEOUT
        self._error = None
        try:
            client.connect()
        except _Connected:
            pass
        except MQTTError as error:
            raise MQTTException(error.code)
        return client.session.resumed

    def _make_client(self):
        client = Client(
            self.server,
            self.port,
            client_id=self.client_id,
            user=self.user,
            password=self.pswd,
            keep_alive=self.keepalive,
            rx=self.RX,
            tx=self.TX,
            outbox=self.OUTBOX,
            timeout=self.TIMEOUT,
            ssl=self.ssl,
            transport=self.TRANSPORT,
        )
        client.session.on_connected = self._on_connected
        client.on_state = self._on_state
        client.on_ack = self._on_ack
        client.on_error = self._on_error
        # all messages go to the callback, including those of a session that an earlier program began
        client.session.subscriptions.dispatch = self._on_message  # type: ignore[method-assign]
        return client

    def disconnect(self):
        """Send DISCONNECT and close the connection."""
        if self._client:
            self._client.on_state = None
            self._client.disconnect()

    def reconnect(self):
        """Connect again to the same session; try every `DELAY` seconds until it succeeds."""
        i = 0
        while True:
            try:
                return self.connect(False)
            except OSError as error:
                self.log(True, error)
                i += 1
                self.delay(i)

    def delay(self, i):
        """Sleep before try number `i` to reconnect."""
        sleep_ms(int(self.DELAY * 1000))

    def log(self, in_reconnect, e):
        """Print an error if `DEBUG` is set."""
        if self.DEBUG:
            print("mqtt reconnect: %r" % e if in_reconnect else "mqtt: %r" % e)

    def ping(self):
        """Send a PINGREQ. A client with a `keepalive` sends PINGREQ by itself."""
        self._require_connected()
        self._client.session.put(b"\xc0\x00")
        self._client._flush_now()

    def publish(self, topic, msg, retain=False, qos=0):
        """Publish a message. At QoS 1 and 2 the call waits for the acknowledgement, except in the callback.

        Raises MQTTException if the broker refuses the message, OSError if the connection is lost or a timeout
        expires. If a message of QoS 1 or 2 is already in the outbox at that time, it is sent again after
        `reconnect`.
        """
        client = self._require_connected()
        self._arguments = (_text(topic), msg, qos, retain)
        if not self._until(self._is_accepted):
            raise OSError(ETIMEDOUT, "the broker reads no more bytes")
        if not client._is_polling and not self._until(self._is_acked if qos else self._is_written):
            raise OSError(ETIMEDOUT, "no acknowledgement" if qos else "the broker reads no more bytes")

    def subscribe(self, topic, qos=0):
        """Subscribe and wait for SUBACK, except in the callback. Raises MQTTException, OSError."""
        assert self.cb is not None, "Subscribe callback is not set"
        client = self._require_connected()
        self._subscription = client.subscribe(_text(topic), None, qos)
        if not client._is_polling and not self._until(self._is_subscribed):
            raise OSError(ETIMEDOUT, "no SUBACK")

    def wait_msg(self):
        """Wait for a message and call the callback. Raises OSError if the connection is lost."""
        self._require_connected()
        while not self._until(self._has_message, _FOREVER):
            pass
        self._unreturned -= 1
        return 0x30

    def check_msg(self):
        """Do the same as `wait_msg` if a message has already arrived; otherwise return None at once."""
        self._require_connected()
        if self._until(self._has_message, 0):
            self._unreturned -= 1
            return 0x30

    # ---- waiting

    def _require_connected(self):
        """Return the client. Raises the pending error, or OSError without a connection."""
        if self._error is None and (self._client is None or not self._client.is_connected):
            self._error = OSError(ENOTCONN, "not connected")
        self._raise_error()
        return self._client

    def _until(self, done, timeout=None):
        """Poll until `done()`; return False after `timeout` ms. Raises OSError and the callback's error."""
        client = self._client
        if timeout is None:
            timeout = self.TIMEOUT
        start = client._ticks_ms()
        while not done():
            left = timeout - ((client._ticks_ms() - start) & _MASK)
            was_paused = client.session.rx_paused  # if True, this poll only handles data received earlier
            idle = client._poll_once()
            self._raise_error()
            if done():
                break
            if (left <= 0 and not was_paused) or client._is_polling:
                return False
            client._wait(min(idle, left))
        return True

    # conditions for `_until`

    def _has_message(self):
        return self._unreturned > 0

    def _is_accepted(self):
        try:
            topic, msg, qos, retain = self._arguments
            self._packet_id = self._client.publish(topic, msg, qos, retain)
        except MQTTError as error:
            raise MQTTException(error.code)
        self._reason = -1
        return self._packet_id

    def _is_written(self):
        return not self._client.session.has_output()

    def _is_acked(self):
        if self._reason >= 0x80:
            raise MQTTException(self._reason)
        return self._reason >= 0

    def _is_subscribed(self):
        reason = self._subscription.reason
        if reason is not None and reason >= 0x80:
            raise MQTTException(reason)
        return reason is not None

    # ---- callbacks of the client

    def _on_ack(self, answer):
        if answer.packet_id == self._packet_id:
            self._reason = answer.reason

    def _raise_error(self):
        error = self._error
        if error is not None:
            if self._client is None or self._client.is_connected:
                self._error = None  # the error comes from the callback: raise it only once
            raise error

    def _on_connected(self):
        self._since = self._client._ticks_ms()
        self._client._on_connected()
        raise _Connected

    def _on_state(self, client, connected, error):
        if not connected:
            client._should_connect = False  # the program itself must call `reconnect`
            if isinstance(error, MQTTError):
                error = OSError(ECONNRESET, str(error))
            self._error = error or OSError(ECONNRESET, "closed")

    def _on_error(self, error):
        self._error = error

    def _on_message(self, message):
        self._unreturned += 1
        if self.cb:
            with self._client.session.catch_errors:
                self.cb(
                    bytes(memoryview(message.topic_buf)[message.topic_start : message.topic_end]),
                    message.payload,
                )


def _text(topic):
    """Return a topic as str; umqtt.simple allows bytes, too."""
    return topic if isinstance(topic, str) else str(encode_text(topic), "utf-8")


def _context(ssl, params):
    """Return the SSLContext for the arguments `ssl` and `ssl_params`."""
    if ssl is not True:
        return ssl
    from .tls import context

    ca = params.get("cadata")
    return context(ca, params.get("cert"), params.get("key"), verify=ca is not None)
