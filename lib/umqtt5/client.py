"""The client: a session, a stream, and the clock. Nothing here knows how a packet looks."""

import sys
from errno import ECONNRESET, ETIMEDOUT

from micropython import const

from .backoff import Backoff
from .encode import subscribe_size
from .errors import Guard
from .session import CLOSING, CONNECTED, Session
from .topics import Topic, encode_filter
from .wire import encode_text, put_u32

if sys.implementation.name == "cpython":
    from .hosted import poll, sleep_ms, ticks_ms
else:
    from select import poll  # type: ignore[assignment]
    from time import sleep_ms, ticks_ms

_DOWN = const(0)
_OPENING = const(1)
_UP = const(2)
_IN = const(1)
_OUT = const(4)
_MASK = const(0x3FFFFFFF)
_BYTES = (bytes, bytearray, memoryview)


class Client:
    """An MQTT 5.0 client whose memory is what its arguments say.

    Sizes in bytes: `rx` is the largest packet that can be received, which the broker is
    told (Maximum Packet Size); `tx` holds what is on its way out and bounds CONNECT and
    QoS 0 messages; `outbox` holds QoS 1 and 2 messages until they are acknowledged. `inflight`
    is how many of these there may be, and how many unacknowledged ones the broker may send
    (Receive Maximum). `aliases` is how many topic aliases we use, as far as the broker has
    that many. `timeout` in ms bounds each wait. `keep_alive` and `session_expiry` are in
    seconds.

    `transport(host, port)` returns the stream; see `tcp`. Raises ValueError for text that
    MQTT forbids (1.5.4).
    """

    def __init__(
        self,
        host,
        port=1883,
        *,
        client_id="",
        user=None,
        password=None,
        keep_alive=60,
        session_expiry=3600,
        rx=1024,
        tx=1024,
        outbox=2048,
        inflight=8,
        aliases=8,
        timeout=10000,
        transport=None,
    ):
        if transport is None:
            from .tcp import connect as transport
        self.host = host
        self.port = port
        self.timeout = timeout
        self.session = Session(encode_text(client_id), rx, tx, outbox, inflight, aliases, keep_alive, timeout)
        self.session.session_expiry = session_expiry
        if user is not None:
            self.session.user = encode_text(user)
        if password is not None:
            self.session.password = password.encode() if isinstance(password, str) else password
        self._sender = self.session.sender
        self._framer = self.session.framer
        self._transport = transport
        self._guard = Guard(OSError, self._drop)
        self._busy = False  # in a round: handlers may run, which may not start another
        self._idle = 0  # ms for which there is nothing to do
        self._stream = None
        self._poller = poll()
        self._watched = 0
        self._topics = {}
        self._names = aliases
        self._link = _DOWN
        self._wanted = False
        self._since = 0  # when the link came to be what it is
        self._backoff = Backoff()
        self.connects = 0
        self.error = None  # why the last connection ended: MQTTError, OSError, None if we ended it
        self.on_state = None  # (client, connected, error)
        self.session.on_connected = self._connected

    # ---- set up

    def topic(self, name):
        """A topic name encoded once, for `publish` without allocation. Raises ValueError."""
        return self._topics.get(name) or Topic(name)

    def will(self, topic, payload, qos=0, retain=False, delay=0, properties=b""):
        """What the broker publishes when this client is gone without a DISCONNECT (3.1.2.5).

        `delay` in seconds is how long it waits for the client to come back (3.1.3.2.2).
        Takes effect with the next connection. Raises ValueError.
        """
        if not 0 <= qos <= 2:
            raise ValueError("qos is 0, 1 or 2")
        if delay:
            properties = bytearray(5) + properties
            properties[0] = 0x18
            put_u32(properties, 1, delay)
        flags = 0x04 | qos << 3 | (0x20 if retain else 0)
        payload = bytes(payload if isinstance(payload, _BYTES) else _encode(payload))
        self.session.will = (flags, bytes(properties), Topic(topic).name, payload)

    def subscribe(self, topic_filter, handler, qos=0):
        """Have `handler(message)` called for what matches; kept over reconnects.

        The message is a `decode.Packet`, which lives until the handler returns; that
        acknowledges it. Returns a `Subscription` whose `reason` is the broker's answer, when
        it has come. May be called before `connect`. Raises ValueError.
        """
        if not 0 <= qos <= 2:
            raise ValueError("qos is 0, 1 or 2")
        self._sender.check_room(subscribe_size(encode_filter(topic_filter), _MASK))
        return self.session.subscriptions.add(topic_filter, handler, qos)

    def on(self, topic_filter, qos=0):
        """`subscribe` as a decorator."""

        def take(handler):
            self.subscribe(topic_filter, handler, qos)
            return handler

        return take

    def unsubscribe(self, topic_filter):
        """End a subscription. Raises ValueError where there is none."""
        self.session.subscriptions.remove(topic_filter)

    # ---- the link

    @property
    def connected(self):
        return self.session.state == CONNECTED

    def connect(self, wait=True):
        """Connect, and from now on reconnect whenever `poll` finds the link gone.

        Returns True where the broker has resumed the session. With `wait=False` it returns
        at once and `poll` does it all. Raises OSError or MQTTError (the broker's reason code
        and string) where this first try fails, and then does not try again by itself;
        ValueError where `tx` can't hold the CONNECT.
        """
        self.session.check()
        if wait or not self._wanted:
            self._wanted = True
            self._backoff.reset()
        if not wait or self._busy:
            return False
        self.error = None
        while self._wanted and not self.connected:
            idle = self._step()
            if self._link == _DOWN and self.error:
                self._wanted = False
                raise self.error
            self._wait(idle)
        return self.session.resumed

    def disconnect(self):
        """End the connection in good order, which deletes the will; `connect` begins anew."""
        self._wanted = False
        self.session.close(0)
        start = ticks_ms()
        while self._link == _UP and (ticks_ms() - start) & _MASK < self.timeout:
            if self._busy:  # out of a handler: what can be written now
                self._push()
                break
            self._wait(self._step())
        if self._link != _DOWN:
            self._drop(None)

    def poll(self, timeout=0):
        """Receive, acknowledge, ping, reconnect for `timeout` ms; 0 is one round.

        Returns True where the link is up. Handlers are called from here; in a handler it
        returns at once.
        """
        start = ticks_ms()
        while True:
            idle = self._step()
            left = timeout - ((ticks_ms() - start) & _MASK)
            if left <= 0 or self._busy:
                return self.session.state == CONNECTED
            self._wait(min(idle, left))

    def publish(self, topic, payload, qos=0, retain=False, properties=b""):
        """Publish bytes or a str to a topic (a str, or a handle from `topic`).

        QoS 0: True where it went to the stream, False where there is no link or no room.
        QoS 1 and 2: its packet identifier, which `on_ack` tells of; it stays in the outbox until
        it is acknowledged, over reconnects. 0 where the outbox is full: poll, and try again.
        `properties` is what `umqtt5.properties.pack` makes.

        Raises MQTTError where a limit of the broker forbids it, ValueError where it could
        never fit into `tx` or `outbox`. Nothing is sent then, and the link lives on.
        """
        if not isinstance(topic, Topic):
            topic = self._named(topic)
        if not isinstance(payload, _BYTES):
            payload = _encode(payload)
        if properties:
            if not isinstance(properties, _BYTES):
                raise TypeError("properties are bytes, see umqtt5.properties.pack")
            self._sender.properties = properties
        qos = qos << 1 | 0x30  # the first byte of the packet
        if retain:
            qos |= 1
        qos = self._sender.publish(topic, payload, qos)
        if qos:
            self._push()
        return qos

    def _push(self):
        """Write now, and not at the next poll."""
        with self._guard:
            self._flush()

    def _named(self, name):
        """The handle for a str; kept for as many of them as there may be aliases."""
        topic = self._topics.get(name)
        if topic is None:
            topic = Topic(name)
            if len(self._topics) < self._names:
                self._topics[name] = topic
            else:
                topic.alias = -1  # gone after this message: it would waste an alias
        return topic

    # ---- one round

    def _step(self):
        """Do what there is to do now; returns for how many ms there is nothing, 0 for more now."""
        if self._busy:
            return 0
        self._busy = True
        try:
            self._round()
        finally:
            self._busy = False
        return self._idle

    def _round(self):
        self._idle = 0
        with self._guard:
            if self._link == _UP:
                self._exchange()
            elif self._link == _OPENING:
                self._opening(ticks_ms())
            else:
                self._down(ticks_ms())

    def _down(self, now):
        self._idle = _MASK
        if self._wanted:
            self._idle = max(0, self._backoff.pause - ((now - self._since) & _MASK))
            if not self._idle:
                self._begin(now)

    def _begin(self, now):
        self._since = now
        self._stream = self._transport(self.host, self.port)
        self._poller.register(self._stream, _OUT)
        self._watched = _OUT
        self._link = _OPENING

    def _opening(self, now):
        for _ in self._poller.ipoll(0):
            self.session.open(now)
            self._link = _UP
            self._flush()
            return
        self._idle = self.timeout - ((now - self._since) & _MASK)
        if self._idle <= 0:
            raise OSError(ETIMEDOUT, "no connection")

    def _exchange(self):
        session = self.session
        if session.state == CLOSING:
            self._framer.reset()  # what still comes is read and thrown away
        if session.held:
            session.parse()
            n = None
        else:
            n = self._stream.readinto(self._framer.into, self._framer.want)
            if n == 0:
                raise OSError(ECONNRESET, "closed by the broker")
        if n and session.state != CLOSING:
            session.received(n, ticks_ms())
        self._flush()
        if self._link == _UP:  # no handler has ended it
            self._tick(n)

    def _tick(self, n):
        self._idle = self.session.tick(ticks_ms())
        self._flush()
        if n:
            self._idle = 0
        if self.session.state == CLOSING and not self._sender.output():
            self._drop(self.session.error)

    def _connected(self):
        self.connects += 1
        self._since = ticks_ms()
        self.error = None
        self._tell(True)

    def _tell(self, connected):
        if self.on_state:
            with self.session.subscriptions.guard:
                self.on_state(self, connected, self.error)

    def _flush(self):
        while self._link == _UP:
            n = self._sender.output()
            if n:
                n = self._stream.write(self._sender.out, self._sender.out_at, n)
            if not n:
                return
            self.session.sent(n, ticks_ms())

    def _wait(self, ms):
        """Sleep until the stream is ready, for `ms` at most."""
        if not ms:
            return
        if self._link == _DOWN:
            sleep_ms(ms)
            return
        wanted = _IN
        if self._link == _OPENING or self.session.held:
            wanted = _OUT
        elif self._sender.pending():
            wanted = _IN | _OUT
        if wanted != self._watched:
            self._poller.modify(self._stream, wanted)
            self._watched = wanted
        for _ in self._poller.ipoll(ms):
            pass

    def _drop(self, error):
        """The link is gone."""
        now = ticks_ms()
        was_connected = self.session.state == CONNECTED or self.session.state == CLOSING
        if self._stream is not None:
            self._poller.unregister(self._stream)
            self._stream.close()
            self._stream = None
        self.session.lost()
        self._backoff.lost((now - self._since) & _MASK if was_connected else 0)
        self._link = _DOWN
        self._idle = 0
        self._since = now
        self.error = self.session.error or error
        self.session.error = None
        self._tell(False)


def _encode(text):
    """What is published and is not bytes has to be str."""
    if isinstance(text, str):
        return text.encode()
    raise TypeError("bytes or str expected")
