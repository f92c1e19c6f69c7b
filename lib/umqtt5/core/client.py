"""MQTT 5.0 client: connect, publish, subscribe, poll; it reconnects and allocates nothing per message.

This module contains the methods that applications call. The loop that drives the connection is in
`connection`, the protocol in `session`.
"""

from micropython import const

from .callbacks import is_coroutine_function
from .connection import (
    flush,
    init_connection,
    on_connected,
    on_link_lost,
    poll_events,
    poll_once,
    wait_for_stream,
)
from .encode import prefix_varint_length
from .session import Session
from .states import CONNECTED, LINK_DOWN, LINK_UP, TICKS_MASK
from .topics import Topic, encode_filter
from .wire import BYTES, check_int, encode_text, prefix_u16_length, reject

# Minimum room for received QoS 2 packet identifiers. mosquitto 2.0 ignores our Receive Maximum: by default it
# has about 20 messages in flight, and it sends all stored messages at once when it resumes a session. If more
# messages than this wait for PUBREL, the client ends the connection with 0x93, and the next connection
# continues from there.
_MIN_RECEIVED_IDS = const(64)


class Client:
    """MQTT 5.0 client in a fixed amount of memory.

    - `host` is the broker's name or address, or a list of brokers: see docs/connection.md. `port` is 1883 by
      default, or 8883 if `ssl` is set. `ssl` is an SSLContext, such as `umqtt5.tls.context` returns.
    - `client_id` is a str. If it is empty, the broker assigns one. `user` is a str, `password` a str or
      bytes. Both may be functions that are called at each connect, for example if a token expires: see
      `set_credentials`.
    - `clean_start=False` resumes the session that the broker has kept for this `client_id`, for example after
      deep sleep. By default the first connection begins a new session, and reconnects resume it.
    - `keep_alive` and `session_expiry` are in seconds.
    - `rx` is the size in bytes of the largest packet that can be received. The client announces this limit to
      the broker (Maximum Packet Size).
    - `tx` is the size in bytes of the buffer for packets that wait to be written. It limits QoS 0 messages.
    - `outbox` is the size in bytes of the buffer for QoS 1 and 2 messages that are not acknowledged yet.
    - `inflight` is the maximum number of messages in the outbox. It is also the maximum number of
      unacknowledged QoS 1 and 2 messages from the broker (Receive Maximum).
    - `aliases` is the maximum number of topic aliases for our messages; the broker may allow fewer.
      `topic_alias_maximum` is the maximum number of aliases that the broker may use. Each of these needs a
      buffer of 64 bytes.
    - `properties` (bytes, see `umqtt5.properties.pack`) are added to CONNECT: user properties, request
      response information, request problem information.
    - `strict` enables additional checks of received messages: see docs/optional-features.md.
    - `when_full` selects the message to drop if the outbox is full: see docs/connection.md. By default none
      is dropped, and `publish` returns 0.
    - `timeout` in ms limits each wait. It may be a dict of several timeouts: see docs/connection.md.
    - `transport(host, port)` returns the stream: see docs/transports.md.

    Raises ValueError for invalid arguments, and for text that MQTT does not allow (1.5.4).

    Each callback is None or a function. If it raises, `on_error` gets the exception.

    - `on_state(client, connected, error)`: the connection was established or has ended. `error` is the
      MQTTError or OSError that ended the connection, None if the client ended it. `client.packet` is the
      broker's CONNACK, or its DISCONNECT.
    - `on_ack(answer)`: a message of QoS 1 or 2 was acknowledged, refused or dropped. `answer.packet_id`
      identifies the message. `answer.reason` is the reason code, 0x80 or more if the message was refused or
      dropped. `answer.property(0x1F)` is the reason string.
    - `on_subscribed(subscription, answer)`: the broker has answered, or one of its limits forbids the
      subscription. `on_unsubscribed(subscription, answer)`: the broker has answered.
    - `on_unhandled(message)`: no handler matches this message, for example because an earlier program that
      used the session has subscribed to it. `unsubscribe` ends such a subscription.
    - `on_error(exception)`: a handler or a callback has raised this exception. If `on_error` is None, the
      exception is printed. A message whose handler raises is acknowledged with 0x80, Unspecified error.

    `answer` and `client.packet` are valid until the callback returns.

    All methods may be called in a handler, in a callback, and in a function that `micropython.schedule` or a
    Timer calls. If such a function interrupts the client while it works, `publish` returns False, `poll`
    returns at once, and the other methods raise RuntimeError. In all these cases nothing has changed.
    """

    # These class attributes take no space in the instance until they are set: see `session.Session`.
    on_state = on_ack = on_subscribed = on_unsubscribed = on_unhandled = on_error = None
    # properties that `publish` has checked last: a program often passes the same bytes
    _checked_properties = b""
    # True to follow a Server Reference of the broker (4.11), None to ignore it, or a function (reference)
    # that returns (host, port): see `server_reference`
    follow_redirects = None
    auth = None  # authentication method (4.12): see `enhanced_auth`

    # see `connection.init_connection`
    stream: object
    error: object
    connection_count: int
    max_reconnect_delay: int
    has_permanent_error: bool
    _link: int
    _idle: int
    _idle_since: int
    _is_polling: bool
    _should_connect: bool
    _pollable: object

    # functions of `connection` that work as methods
    poll_events = poll_events
    _flush_now = flush
    _on_connected = on_connected
    _on_link_lost = on_link_lost
    _poll_once = poll_once
    _wait = wait_for_stream

    def __init__(
        self,
        host,
        port=None,
        *,
        client_id="",
        user=None,
        password=None,
        keep_alive=60,
        session_expiry=3600,
        clean_start=True,
        rx=1024,
        tx=1024,
        outbox=2048,
        inflight=8,
        aliases=8,
        topic_alias_maximum=0,
        properties=b"",
        strict=False,
        when_full=None,
        timeout=10000,
        ssl=None,
        transport=None,
    ):
        port = port or (8883 if ssl else 1883)
        values = (port, timeout or -1, rx, tx, outbox, inflight, aliases, topic_alias_maximum, keep_alive)
        host = _check_arguments(host, transport, values)
        check_int("session_expiry", session_expiry, 0xFFFFFFFF)
        if transport is None:
            from ..tcp import connect as transport
        if ssl is not None and ssl is not False:  # so that an empty dict or str does not mean: no TLS
            from ..tls import wrap

            transport = wrap(transport, ssl)
        session = Session(
            encode_text(client_id, "client_id"), rx, tx, outbox, inflight, aliases, keep_alive, timeout
        )
        session.session_expiry = session_expiry
        session.clean_start = clean_start
        for _ in range(inflight, _MIN_RECEIVED_IDS):
            session.received_ids.append(0)
        _load_features(session, topic_alias_maximum, properties, strict, when_full)
        if isinstance(timeout, dict):
            from ..optional.timeouts import attach

            timeout = attach(session, timeout)
        session.on_connected = self._on_connected
        session.callbacks = self
        self.session = session
        self.packet = session.packet
        self.set_credentials(user, password)
        self.host = host
        self.port = port
        self.timeout = timeout  # ms to open the stream, and to write the DISCONNECT
        self._transport = transport
        self._topics = {}  # handles of str topics
        # Optional features add functions to these lists. A poll hook (now) runs in each round and returns the
        # number of ms until the next round is due. A disconnect hook (client, uptime_ms) runs when a
        # connection has ended.
        self._poll_hooks: list = []
        self._disconnect_hooks: list = []
        self._ticks_ms = init_connection(self)
        if not isinstance(host, str):
            from ..optional.broker_failover import attach

            attach(self, host)

    def __getattr__(self, name):
        """`is_connected`: True between CONNACK and the end of the connection.

        With a property in the class, MicroPython would look up a setter at each assignment to an attribute,
        which takes six times as long.
        """
        if name == "is_connected":
            return self.session.state == CONNECTED
        raise AttributeError(name)

    def __enter__(self):
        """Connect; `with Client(...) as client:` disconnects at its end."""
        self.connect()
        return self

    def __exit__(self, *error):
        self.disconnect()

    # ---- set up

    def set_credentials(self, user, password):
        """Set user name and password for the next connection.

        Each is a str, None, or a function without arguments that returns one of these; the password may also
        be bytes. A function is called at each connect. If it raises an exception, `on_error` gets it, and the
        client tries again later. Raises ValueError for text that MQTT does not allow.
        """
        session = self.session
        user = user if user is None or callable(user) else encode_text(user, "user")
        if password is not None and not callable(password):
            password = _to_bytes(password, "password")
        session.user, session.password = user, password  # both at once: a scheduled function may connect

    def topic(self, name):
        """Return a handle for a topic name. With a handle `publish` allocates nothing. Raises ValueError."""
        return self._topics.get(name) or Topic(name)

    def will(self, topic, payload, qos=0, retain=False, delay=0, properties=b""):
        """Set the message that the broker publishes if this client disappears without a DISCONNECT (3.1.2.5).

        The broker waits `delay` seconds for the client to reconnect (3.1.3.2.2). `properties` (bytes, see
        `properties.pack`) are the properties of this message: content type, message expiry and others. The
        will takes effect with the next connection. Raises ValueError for invalid arguments.
        """
        check_int("qos", qos, 2)
        check_int("delay", delay, 0xFFFFFFFF)
        wait = b""
        if delay:
            wait = bytes((0x18, delay >> 24, delay >> 16 & 0xFF, delay >> 8 & 0xFF, delay & 0xFF))
        if properties:
            with self.session:
                from ..optional.property_rules import WILL, check_properties
            check_properties(properties + wait, WILL)
        self.session.will = (
            0x04 | qos << 3 | (0x20 if retain else 0),
            prefix_varint_length(properties + wait)
            + prefix_u16_length(Topic(topic).name)
            + prefix_u16_length(_to_bytes(payload)),
        )

    def subscribe(
        self,
        topic_filter,
        handler,
        qos=0,
        *,
        no_local=False,
        retain_as_published=False,
        retain_handling=0,
        ack=None,
        identifier=None,
        properties=b"",
    ):
        """Subscribe: `handler(message)` is called for each message that matches, also after reconnects.

        The message is a `Message`, which is valid until the handler returns. At QoS 1 and 2 the client
        acknowledges the message when the handler has returned. If `handler` is None, messages are
        acknowledged and ignored. With `ack="manual"` the handler is called as
        `handler(message, token)`, and `client.ack(token)` acknowledges the message: see
        docs/optional-features.md.

        `no_local` excludes messages that this client publishes. `retain_as_published` keeps the retain flag
        as the publisher set it. If `retain_handling` is 0, the broker sends retained messages for each
        subscription; if it is 1, only for a new subscription; if it is 2, never (3.8.3.1).

        `topic_filter` may be a list of filters, for one SUBSCRIBE. `identifier` is the Subscription
        Identifier (1 to 268435455), 0 for none; by default it is a hash of the filter. `properties` (bytes,
        see `umqtt5.properties.pack`) are user properties of SUBSCRIBE.

        Returns a `Subscription`, whose `reason` is None until the broker has answered. `subscribe` may be
        called before `connect`. Raises ValueError for invalid arguments, TypeError for a coroutine function.
        """
        if identifier is not None or properties or isinstance(topic_filter, (list, tuple)):
            with self.session:
                from ..optional.subscribe_options import make_subscription
            data = make_subscription(self.session.subscriptions, topic_filter, identifier, properties)
            topic_filter = data.topic_filter
        else:
            topic_filter = data = encode_filter(topic_filter)
        check_int("qos", qos, 2)
        check_int("retain_handling", retain_handling, 2)
        if handler is None and not ack:
            handler = len  # it does nothing
        if not callable(handler) or is_coroutine_function(handler):
            reject("callable", "handler", handler)
        if no_local and b"$share/" in topic_filter:  # [MQTT-3.8.3-4]
            raise ValueError("shared subscriptions do not allow no_local")
        size = len(topic_filter) + len(properties) + 13
        if size + 11 > len(self.session.tx):
            reject("size", "tx", size, self.session.tx, 11)
        if ack:
            from ..optional.manual_ack import attach

            handler = attach(self, handler, ack)
        if no_local:
            qos |= 4
        if retain_as_published:
            qos |= 8
        with self.session:
            return self.session.subscriptions.add(data, handler, qos | retain_handling << 4)

    def on(self, topic_filter, qos=0, **options):
        """Return a decorator that subscribes its function: see `subscribe`."""

        def decorate(handler):
            self.subscribe(topic_filter, handler, qos, **options)
            return handler

        return decorate

    def unsubscribe(self, topic_filter, properties=b""):
        """End a subscription; returns the `Subscription`. The handler is called until UNSUBACK arrives.

        The filter may be one to which an earlier program with this session has subscribed. `topic_filter` may
        be a list, as in `subscribe`. `properties` are user properties of UNSUBSCRIBE.
        """
        if properties or not isinstance(topic_filter, (str, bytes)):
            with self.session:
                from ..optional.subscribe_options import make_subscription
            data = make_subscription(self.session.subscriptions, topic_filter, None, properties)
        else:
            data = encode_filter(topic_filter)
        with self.session:
            return self.session.subscriptions.remove(data)

    # ---- messages

    def publish(self, topic, payload, qos=0, retain=False, properties=b"", wait=False):
        """Publish a payload (bytes or str) to a topic (str, or a handle from `topic`).

        - QoS 0: returns True if the message is written or waits in `tx`, False if there is no connection or
          no room.
        - QoS 1 and 2: returns the packet identifier, which `on_ack` receives when the message is
          acknowledged. Returns 0 if the outbox is full: poll, and try again. The message stays in the outbox
          until it is acknowledged, even across reconnects. If the connection ends three times because the
          broker reports an error about this message, or 21 times without an error, the message is given up:
          `on_ack` gets a reason code of 0x80 or more.

        If there is no connection or no room, `publish` runs one round of `poll` and tries once more. So a
        program that only publishes reconnects, too. Handlers may be called in this round.

        `properties` are bytes from `umqtt5.properties.pack`. With `wait=True`, or a number of ms, `publish`
        waits until the message has arrived: see docs/client.md.

        Raises MQTTError if the message exceeds a limit of the broker, ValueError if it can never fit into
        `tx` or `outbox`, or if a property is invalid or not allowed in a message. In these cases nothing is
        sent, and the connection stays open.
        """
        if self.session.is_busy and not wait:
            return False
        if not isinstance(topic, Topic):
            topic = self._find_topic(topic)
        if not isinstance(payload, BYTES):
            payload = _to_bytes(payload)
        if qos:
            check_int("qos", qos, 2)
        if properties is not self._checked_properties:
            self._check_properties(properties)
        if wait:
            payload = (topic, payload)  # with more arguments at once the frame would be on the heap
            retain = (qos, retain, properties, wait)
            return self._publish_and_wait(payload, retain)
        # these names are used again: see `tools stack-frames`
        retain = (qos << 1 if qos else 0) | (0x31 if retain else 0x30)
        self.session.is_busy = True
        self.session.message_properties = properties
        self.session.first_byte = retain
        qos = self._publish(topic, payload)
        if qos is True or (qos and self.session.state == CONNECTED):
            return qos
        if self._is_polling or not self._should_connect:
            return qos
        self._poll_once()
        if qos or self.session.is_busy:
            return qos
        self.session.is_busy = True
        self.session.message_properties = properties
        self.session.first_byte = retain
        return self._publish(topic, payload)

    def _publish(self, topic, payload):
        """Publish, and write what the stream accepts now; `is_busy` is set, and this method resets it."""
        try:
            topic = self.session.publish(topic, payload)
            if topic:
                self._flush_now()
            self.session.is_busy = False  # not after the block, where a KeyboardInterrupt may be raised
        except:  # noqa: E722  `finally` or a type would move the frame to the heap
            self.session.is_busy = False
            raise
        return topic

    def _check_properties(self, properties):
        with self.session:  # a scheduled function must not import a module that is being imported
            _check_message_properties(properties)
        if isinstance(properties, bytes):
            self._checked_properties = properties

    def _publish_and_wait(self, message, options):
        with self.session:
            from ..optional.blocking_publish import publish_and_wait
        return publish_and_wait(self, *message, *options)

    def cancel(self, packet_id):
        """Remove a message of QoS 1 or 2 from the outbox; `packet_id` is the result of `publish`.

        Returns True if the message is removed. Returns False if the broker's answer is due, or if there is no
        such message. The broker may have a message that was sent before the connection was lost. `on_ack` is
        called for the removed message with the reason code 0x80, at the earliest after the next CONNACK.
        """
        with self.session:
            from ..optional.give_up import cancel
        return cancel(self.session, packet_id - 1)

    def _find_topic(self, name):
        """Return the handle for a str topic. The client keeps as many handles as there are aliases."""
        topic = self._topics.get(name)
        if topic is None:
            topic = Topic(name)
            if len(self._topics) < len(self.session._alias_topics):
                self._topics[name] = topic
            else:
                topic.alias = -1  # this handle is used only once, so an alias would be wasted on it
        return topic

    def request(self, topic, payload, **options):
        """Publish a request and wait up to `timeout` ms for the response; returns its payload.

        Raises OSError(ETIMEDOUT) if no response arrives in time. With `on_response` the call does not wait:
        it returns True if the request is accepted, and `poll` calls `on_response(message)`, or
        `on_response(None)` after `timeout` ms. `request.request` describes all arguments and exceptions; an
        example is in docs/optional-features.md.
        """
        with self.session:
            from ..request import request
        return request(self, topic, payload, **options)

    def respond(self, message, payload, **options):
        """Publish a response to the response topic of `message`, with its correlation data.

        The options are `qos`, `topic` (used if the message has no response topic) and `properties`. Returns
        False if there is no topic, or if too many responses wait: see `respond.respond`.
        """
        with self.session:
            from ..respond import respond
        return respond(self, message, payload, **options)

    def responder(self, topic_filter, function, **options):
        """Subscribe, and respond to each message with the result of `function(message)`.

        If the result is None, no response is sent. The options are those of `subscribe`.
        """
        with self.session:
            from ..respond import responder
        return responder(self, topic_filter, function, **options)

    # ---- the connection

    def connect(self, wait=True):
        """Connect. From then on `poll` reconnects if the connection is lost.

        Returns True if the broker has resumed the session. With `wait=False` it returns False at once, and
        `poll` connects. Raises OSError, or MQTTError with the broker's reason code and string, if this first
        try fails. After a failed first try `poll` does not try again.
        """
        with self.session:  # not while the client works
            if self.auth or self.session.auth:
                from ..optional.enhanced_auth import attach

                attach(self, self.auth)
        if wait or not self._should_connect:
            self._should_connect = True
            self._reconnect_delay = self._failures = 0
        if not wait or self._is_polling:
            return False
        self.error = None
        try:
            while self._should_connect and not self.is_connected:
                idle = self._poll_once()
                if self._link == LINK_DOWN and self.error:
                    break
                # without the limit it could wait for ever after the `disconnect` of a scheduled function
                self._wait(min(idle, self.timeout))
            if self.error and not self.is_connected:
                raise self.error
        except BaseException:
            self._should_connect = self.is_connected
            raise
        return self.is_connected and self.session.resumed

    def reauthenticate(self, wait=True):
        """Authenticate again during the connection, with the method `auth` (4.12.1).

        Returns False if there is no connection, or if an authentication is in progress. While this method
        waits, other packets are sent and received. If the authentication fails, the connection is closed, and
        `reauthenticate` raises the error that `on_state` gets. With `wait=False`, and in a handler,
        `reauthenticate` returns at once, and `poll` continues the authentication.
        """
        with self.session:
            from ..optional.enhanced_auth import reauthenticate
        return reauthenticate(self, wait)

    def disconnect(self, reason=0, properties=b""):
        """End the connection with a DISCONNECT, so the broker drops the will. `connect` connects again.

        With `reason` 0x04 the broker publishes the will. `properties` may contain session expiry, reason
        string and user properties. Their limits: docs/optional-features.md.

        In a handler or a callback the connection ends when the handler has returned and its message is
        acknowledged. No more messages are handled then.
        """
        with self.session:
            packet = b""
            if reason or properties:
                from ..optional.disconnect import encode_disconnect

                packet = encode_disconnect(self, reason, properties)
            self._should_connect = False
            if self._is_polling:
                self.session.close_request = (reason, packet)
                return
            self.session.close(reason, packet)
        start = self._ticks_ms()
        while self._link == LINK_UP and (self._ticks_ms() - start) & TICKS_MASK < self.timeout:
            idle = self._poll_once()
            if self._link != LINK_DOWN:
                self._wait(min(idle, self.timeout))
        if self._link != LINK_DOWN:
            self._on_link_lost(None)

    def poll(self, timeout=0):
        """Receive, acknowledge, ping and reconnect for `timeout` ms; with 0, run one round.

        Returns True if the client is connected. This method calls the handlers and callbacks. In a handler,
        `poll` returns at once.
        """
        if not timeout:
            self._poll_once()
            return self.session.state == CONNECTED
        start = self._ticks_ms()
        while True:
            idle = self._poll_once()
            left = timeout - ((self._ticks_ms() - start) & TICKS_MASK)
            if left <= 0 or self._is_polling or self.session.is_busy:
                return self.session.state == CONNECTED
            self._wait(min(idle, left))

    def next_timeout(self):
        """Return the number of ms after which `poll` must be called, if the stream is not ready earlier.

        If you write your own event loop, wait at most this long until `stream` is ready for one of the events
        `poll_events()`, then call `poll`. If the stream has an attribute `pollable`, wait for that object.
        """
        return max(0, self._idle - ((self._ticks_ms() - self._idle_since) & TICKS_MASK))


def _check_arguments(host, transport, values):
    """Check arguments of `Client`; returns the host. Raises TypeError, ValueError."""
    is_odd = not callable(transport)
    if transport is None:
        is_odd = isinstance(host, str) and (":" in host or "/" in host or host.split() != [host])
    for n in values:
        if not isinstance(n, dict) and (not isinstance(n, int) or not 0 <= n < 65536):
            is_odd = True
    if is_odd:  # wrong, or just unusual
        from ..optional.argument_errors import check_arguments

        host = check_arguments(host, transport, values)
    return host


def _check_message_properties(properties):
    from ..optional.property_rules import MESSAGE, check_properties

    check_properties(properties, MESSAGE)


def _load_features(session, topic_alias_maximum, properties, strict, when_full):
    """Load the optional features of a session that the arguments ask for."""
    if topic_alias_maximum:
        from ..optional.topic_aliases import attach

        attach(session, topic_alias_maximum)
    if properties:
        from ..optional.property_rules import attach

        attach(session, properties)
    if strict:
        from ..optional.strict import attach

        attach(session, strict)
    if when_full:
        from ..optional.overflow_policy import attach

        attach(session, when_full)


def _to_bytes(payload, name="payload"):
    """Return a payload or password as bytes; a str becomes UTF-8. `name` is the argument, for the error."""
    if isinstance(payload, str):
        return payload.encode()
    if isinstance(payload, BYTES):
        return bytes(payload)
    reject("payload", name, payload)
