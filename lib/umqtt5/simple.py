"""The calls of umqtt.simple over MQTT 5: a program changes one import line.

from umqtt5.simple import MQTTClient

What it gets besides: every wait ends after `MQTTClient.TIMEOUT` ms with an OSError, pings go out by
themselves while messages are waited for, and with `clean_session=False` what was not acknowledged
is sent again after `reconnect`. `umqtt5.robust` reconnects by itself.

Memory is fixed, unlike there: `RX` bounds a packet that arrives (the broker is told, and keeps
larger ones back), `OUTBOX` a message of QoS 1 that is published. They are attributes of the class,
to be set before a client is made.
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
_FOR_EVER = const(0x1FFFFFFF)  # ms
_NEVER_EXPIRES = 0xFFFFFFFF


class MQTTException(Exception):
    """The broker refuses; `args[0]` is its reason code (2.4), which is not that of MQTT 3.1.1."""


class _Connected(Exception):
    """Ends a round at CONNACK: what came behind it is for `wait_msg`."""


class MQTTClient:
    """See umqtt.simple for what is not said here. `ssl` is an SSLContext, see `tls.context`.

    With `ssl=True`, as older programs have it, the broker's certificate is not checked unless
    `ssl_params` has `cadata`; `cert` and `key` of these are taken, too.
    """

    RX = 2048  # bytes
    TX = 2048
    OUTBOX = 4096
    TIMEOUT = 10000  # ms
    TRANSPORT = None  # see `Client`
    DELAY = 2  # seconds
    DEBUG = False

    def __init__(
        self,
        client_id,
        server,
        port=0,
        user=None,
        password=None,
        keepalive=0,
        ssl=None,
        ssl_params={},  # noqa: B006  as there
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
        self._error = None  # why the link has ended, or what the callback has raised
        self._since = -1  # when the link came up
        self._came = 0  # messages that no `wait_msg` has returned for
        # what a call waits for
        self._arguments = self._subscription = None
        self._packet_id = self._reason = 0

    @property
    def sock(self):
        """The stream, to be watched by `select.poll`; None without a connection."""
        return self._client and self._client.stream

    def set_callback(self, f):
        """Have `f(topic, msg)` called, with bytes."""
        self.cb = f

    def set_last_will(self, topic, msg, retain=False, qos=0):
        """For the next `connect`."""
        assert 0 <= qos <= 2
        assert topic
        self.lw_topic = topic
        self.lw_msg = msg
        self.lw_qos = qos
        self.lw_retain = retain

    def connect(self, clean_session=True, timeout=None):
        """Returns True where the broker has kept the session. `timeout` in seconds.

        Raises MQTTException where the broker refuses, OSError where there is no connection.
        """
        client = self._client
        if client is None or clean_session:
            self.disconnect()
            client = self._client = self._made()
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

    def _made(self):
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
        client.session.on_connected = self._connected
        client.on_state = self._state
        client.on_ack = self._acknowledged
        client.on_error = self._failed
        # all messages go to the one callback, also those of a session that is older than we are
        client.session.subscriptions.dispatch = self._deliver  # type: ignore[method-assign]
        return client

    def disconnect(self):
        """End the connection in good order."""
        if self._client:
            self._client.on_state = None
            self._client.disconnect()

    def reconnect(self):
        """Connect again to the session there was, every `DELAY` seconds until it works."""
        i = 0
        while True:
            try:
                return self.connect(False)
            except OSError as error:
                self.log(True, error)
                i += 1
                self.delay(i)

    def delay(self, i):
        sleep_ms(int(self.DELAY * 1000))

    def log(self, in_reconnect, e):
        if self.DEBUG:
            print("mqtt reconnect: %r" % e if in_reconnect else "mqtt: %r" % e)

    def ping(self):
        """Have a PINGREQ sent; a client with a `keepalive` does so by itself."""
        self._linked()
        self._client.session.put(b"\xc0\x00")
        self._client._flush_now()

    def publish(self, topic, msg, retain=False, qos=0):
        """At QoS 1 and 2 it returns when the broker has acknowledged, in the callback at once.

        Raises MQTTException where the broker refuses, OSError where the link is lost or nothing
        comes in time: a message of QoS 1 or 2 is then sent again after `reconnect`.
        """
        client = self._linked()
        self._arguments = (_text(topic), msg, qos, retain)
        if not self._until(self._taken):
            raise OSError(ETIMEDOUT, "the broker takes no more bytes")
        if not client._is_polling and not self._until(self._answered if qos else self._written):
            raise OSError(ETIMEDOUT, "no acknowledgement" if qos else "the broker takes no more bytes")

    def subscribe(self, topic, qos=0):
        """Returns when the broker has answered, in the callback at once."""
        assert self.cb is not None, "Subscribe callback is not set"
        client = self._linked()
        self._subscription = client.subscribe(_text(topic), None, qos)
        if not client._is_polling and not self._until(self._subscribed):
            raise OSError(ETIMEDOUT, "no SUBACK")

    def wait_msg(self):
        """Wait for a message, and have the callback called. Raises OSError where the link is lost."""
        self._linked()
        while not self._until(self._has_come, _FOR_EVER):
            pass
        self._came -= 1
        return 0x30

    def check_msg(self):
        """As `wait_msg` where a message is there already; else it returns None at once."""
        self._linked()
        if self._until(self._has_come, 0):
            self._came -= 1
            return 0x30

    # ---- below

    def _linked(self):
        if self._error is None and (self._client is None or not self._client.is_connected):
            self._error = OSError(ENOTCONN, "not connected")
        self._raise()
        return self._client

    def _until(self, done, timeout=None):
        """Poll until it is `done`; False where that takes longer. Raises what happens meanwhile."""
        client = self._client
        if timeout is None:
            timeout = self.TIMEOUT
        start = client._ticks_ms()
        while not done():
            left = timeout - ((client._ticks_ms() - start) & _MASK)
            held = client.session.rx_paused  # then this round only looks at what has come before
            idle = client._poll_once()
            self._raise()
            if done():
                break
            if (left <= 0 and not held) or client._is_polling:
                return False
            client._wait(min(idle, left))
        return True

    # what is waited for

    def _has_come(self):
        return self._came > 0

    def _taken(self):
        try:
            topic, msg, qos, retain = self._arguments
            self._packet_id = self._client.publish(topic, msg, qos, retain)
        except MQTTError as error:
            raise MQTTException(error.code)
        self._reason = -1
        return self._packet_id

    def _written(self):
        return not self._client.session.has_output()

    def _answered(self):
        if self._reason >= 0x80:
            raise MQTTException(self._reason)
        return self._reason >= 0

    def _subscribed(self):
        reason = self._subscription.reason
        if reason is not None and reason >= 0x80:
            raise MQTTException(reason)
        return reason is not None

    # what happens

    def _acknowledged(self, answer):
        if answer.packet_id == self._packet_id:
            self._reason = answer.reason

    def _raise(self):
        error = self._error
        if error is not None:
            if self._client is None or self._client.is_connected:
                self._error = None  # the callback's own
            raise error

    def _connected(self):
        self._since = self._client._ticks_ms()
        self._client._on_connected()
        raise _Connected

    def _state(self, client, connected, error):
        if not connected:
            client._should_connect = False  # it is the program that reconnects
            if isinstance(error, MQTTError):
                error = OSError(ECONNRESET, str(error))
            self._error = error or OSError(ECONNRESET, "closed")

    def _failed(self, error):
        self._error = error

    def _deliver(self, message):
        self._came += 1
        if self.cb:
            with self._client.session.catch_errors:
                self.cb(
                    bytes(memoryview(message.topic_buf)[message.topic_start : message.topic_end]),
                    message.payload,
                )


def _text(topic):
    """Their topics are bytes or str."""
    return topic if isinstance(topic, str) else str(encode_text(topic), "utf-8")


def _context(ssl, params):
    """The context for what older programs give."""
    if ssl is not True:
        return ssl
    from .tls import context

    ca = params.get("cadata")
    return context(ca, params.get("cert"), params.get("key"), verify=ca is not None)
