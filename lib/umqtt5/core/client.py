"""The client: what a user holds in his hands, and the loop that drives the session.

It opens, reads, writes, waits and reconnects, and knows nothing of how a packet looks.
"""

import sys
from errno import ECONNRESET, ETIMEDOUT
from random import getrandbits

from micropython import const

from .encode import counted
from .errors import Guard
from .session import CLOSING, CONNECTED, Session
from .topics import Topic, encode_filter
from .wire import encode_text, sized

if sys.implementation.name == "cpython":
    from ..cpython.compat import poll, sleep_ms, ticks_ms
else:
    from select import poll
    from time import sleep_ms, ticks_ms

_DOWN = const(0)
_OPENING = const(1)
_UP = const(2)
_IN = const(1)
_OUT = const(4)
_MASK = const(0x3FFFFFFF)
_BYTES = (bytes, bytearray, memoryview)

# Pauses between tries are drawn from a third of a bound up to the bound, which doubles from this
# one to `longest_pause`. Drawn from nothing, as is usual, the short ones bring up to nine times its
# even share of a herd back in one second; so it is four. Only a link that was stable makes them
# begin anew: a broker that accepts and drops would else be hammered.
_FIRST_PAUSE = const(1000)  # ms
_STABLE = const(30000)
# A broker that refuses us for what can't mend by itself is left alone for 10 to 18 minutes.
_LASTING_PAUSE = const(600000)
# QoS 2 messages that are remembered at least. mosquitto 2.0 has some 20 in flight by default, whatever
# Receive Maximum we announce, and sends all that it has kept at once where a session is resumed: it
# is cut with 0x93 after so many, and soon goes on.
_REMEMBERED = const(64)


class Client:
    """An MQTT 5.0 client whose memory is what its arguments say.

    Sizes in bytes: `rx` is the largest packet that can be received, which the broker is
    told (Maximum Packet Size); `tx` holds what is on its way out and bounds QoS 0 messages;
    `outbox` holds QoS 1 and 2 messages until they are acknowledged. `inflight` is how many of
    these there may be, and how many unacknowledged ones the broker may send (Receive
    Maximum). `aliases` is how many topic aliases we use, as far as the broker has that many;
    `topic_alias_maximum` how many it may use, 64 bytes each. `timeout` in ms bounds each
    wait, or is a dict of several: see `timeouts`. `keep_alive` and `session_expiry` are in seconds.
    `when_full` is what gives way where the outbox is full: see `policy`; None for the new message.

    `properties` go into CONNECT: user properties, request response information, request problem
    information, see `properties.pack`. `strict` holds the broker to what most let pass: see `strict`.

    `host` may be a list, tried in turn: see `brokers`. `ssl` is an SSLContext: see `tls`.
    `transport(host, port)` returns the stream: see `tcp`; `ws` and `given` have others. Raises
    ValueError for text that MQTT forbids (1.5.4).

    Callbacks, each None or a function; what one raises goes to `on_error`:

    - `on_state(client, connected, error)`: the link has come or gone. `error` is why, an
      MQTTError or OSError, or None where we ended it. `client.packet` is the broker's CONNACK,
      or the DISCONNECT by which it has ended the connection.
    - `on_ack(answer)`: a QoS 1 or 2 message has ended: `answer.packet_id`, the broker's
      `answer.reason`, 0x80 or more where it was refused, `answer.property(0x1F)` its words.
    - `on_subscribed(subscription, answer)`, `on_unsubscribed(subscription, answer)`: the
      broker has answered. An answer, and `client.packet`, is the next packet when the
      callback has returned.
    - `on_error(exception)`: a handler or a callback has raised. None prints it. A message
      whose handler raises is acknowledged with 0x80, Unspecified error.
    """

    # what few change is the class's until then, which saves room as in Session
    on_state = on_ack = on_subscribed = on_unsubscribed = on_error = None
    # whether to go where the broker says (4.11): True, or a function (reference) that returns
    # (host, port), or None for not there; see `follow`
    follow = None
    auth = None  # how to authenticate beyond user and password (4.12), see `auth`

    def __init__(  # noqa: PLR0915  what there is, named once
        self,
        host,
        port=None,
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
        topic_alias_maximum=0,
        properties=b"",
        strict=False,
        when_full=None,
        timeout=10000,
        ssl=None,
        transport=None,
    ):
        if transport is None:
            from ..tcp import connect as transport
        if ssl:
            from ..tls import over

            transport = over(transport, ssl)
        session = Session(encode_text(client_id), rx, tx, outbox, inflight, aliases, keep_alive, timeout)
        session.session_expiry = session_expiry
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
        if user is not None:
            session.user = encode_text(user)
        if password is not None:
            session.password = password.encode() if isinstance(password, str) else password
        if isinstance(timeout, dict):
            from ..optional.timeouts import attach

            timeout = attach(session, timeout)
        for _ in range(inflight, _REMEMBERED):
            session.inbox.append(0)
        session.on_connected = self._connected
        session.owner = self
        self.session = session
        self.host = host
        self.port = port or (8883 if ssl else 1883)
        self.timeout = timeout
        self._transport = transport
        self._topics = {}
        self._guard = Guard(OSError, self._drop)
        self.stream = None
        self._poller = poll()
        self._watched = self._events = 0
        self._pollable = self._opening = None
        self._link = _DOWN
        self._wanted = False
        self._was_up = False  # since the connection began
        self._busy = False  # in a round: handlers may run, which may not start another
        self._idle = self._now = 0  # ms for which there is nothing to do, and since when
        self._since = 0  # when the link came to be what it is
        self._pause = 0  # ms until the next try
        self._tries = 0
        self.connects = 0
        self.longest_pause = 60000  # ms between two tries, at most, unless the refusal can't mend
        self.error = None  # why the last connection ended
        self.lasting = False  # that can't mend by itself: a wrong password, not authorized, banned
        self.packet = session.packet
        # what is loaded when it is used hooks in here: functions (now) that return the ms until they
        # have something to do, and functions (client, lived) when a connection has ended
        self._chores: list = []
        self._drops: list = []
        self._ticks = ticks_ms
        if not isinstance(host, str):
            from ..optional.broker_failover import attach

            attach(self, host)

    @property
    def connected(self):
        return self.session.state == CONNECTED

    def __enter__(self):
        """`with Client(...) as client:` connects, and disconnects in the end."""
        self.connect()
        return self

    def __exit__(self, *error):
        self.disconnect()

    # ---- set up

    def topic(self, name):
        """A topic name encoded once, for `publish` without allocation. Raises ValueError."""
        return self._topics.get(name) or Topic(name)

    def will(self, topic, payload, qos=0, retain=False, delay=0, properties=b""):
        """What the broker publishes when this client is gone without a DISCONNECT (3.1.2.5).

        `delay` in seconds is how long it waits for the client to come back (3.1.3.2.2).
        `properties`: content type, message expiry and the like, see `properties.pack`. Takes
        effect with the next connection. Raises ValueError.
        """
        if not 0 <= qos <= 2:
            raise ValueError("qos is 0, 1 or 2")
        wait = b""
        if delay:
            wait = bytes((0x18, delay >> 24, delay >> 16 & 0xFF, delay >> 8 & 0xFF, delay & 0xFF))
        if properties:
            from ..optional.property_rules import WILL, check

            check(properties + wait, WILL)
        self.session.will = (
            0x04 | qos << 3 | (0x20 if retain else 0),
            counted(properties + wait) + sized(Topic(topic).name) + sized(_data(payload)),
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
    ):
        """Have `handler(message)` called for what matches; kept over reconnects.

        The message is a `packet.Packet`, which lives until the handler returns; that
        acknowledges it. `no_local` leaves out what this client publishes itself,
        `retain_as_published` leaves the retain flag as it was, `retain_handling` 1 sends
        retained messages only for a new subscription, 2 never (3.8.3.1). With `ack="manual"` it is
        `handler(message, token)`, and `client.ack(token)` that acknowledges: see `held`.

        Returns a `Subscription` whose `reason` is the broker's answer, when it has come. May
        be called before `connect`. Raises ValueError.
        """
        data = encode_filter(topic_filter)
        if not (0 <= qos <= 2 and 0 <= retain_handling <= 2):
            raise ValueError("qos and retain_handling are 0, 1 or 2")
        if no_local and data.startswith(b"$share/"):  # [MQTT-3.8.3-4]
            raise ValueError("no_local is not for shared subscriptions")
        if len(data) + 24 > len(self.session.tx):
            raise ValueError("tx: %d bytes needed" % (len(data) + 24))
        if ack:
            from ..optional.manual_ack import attach

            handler = attach(self, handler, ack)
        if no_local:
            qos |= 4
        if retain_as_published:
            qos |= 8
        return self.session.subscriptions.add(data, handler, qos | retain_handling << 4)

    def on(self, topic_filter, qos=0, **options):
        """`subscribe` as a decorator."""

        def take(handler):
            self.subscribe(topic_filter, handler, qos, **options)
            return handler

        return take

    def unsubscribe(self, topic_filter):
        """End a subscription. Raises ValueError where there is none."""
        self.session.subscriptions.remove(encode_filter(topic_filter))

    # ---- messages

    def publish(self, topic, payload, qos=0, retain=False, properties=b"", wait=False):
        """Publish bytes or a str to a topic (a str, or a handle from `topic`).

        QoS 0: True where it went to the stream, False where there is no link or no room.
        QoS 1 and 2: its packet identifier, which `on_ack` tells of; it stays in the outbox until
        it is acknowledged, over reconnects. 0 where the outbox is full: poll, and try again.
        `properties` is what `umqtt5.properties.pack` makes. With `wait` True, or ms, it waits until
        the message has arrived: see `blocking`.

        Raises MQTTError where a limit of the broker forbids it, ValueError where it could
        never fit into `tx` or `outbox`. Nothing is sent then, and the link lives on.
        """
        if not isinstance(topic, Topic):
            topic = self._named(topic)
        if not isinstance(payload, _BYTES):
            payload = _data(payload)
        if not isinstance(properties, _BYTES):
            raise TypeError("properties are bytes, see umqtt5.properties.pack")
        self.session.message_properties = properties
        self.session.first_byte = qos << 1 | (0x31 if retain else 0x30)
        if wait:
            self._bound = self.timeout if wait is True else wait
            return self._publish_and_wait(topic, payload)
        qos = self.session.publish(topic, payload)
        if qos:
            self._push()
        return qos

    def _publish_and_wait(self, topic, payload):
        from ..optional.blocking_publish import publish

        return publish(self, topic, payload, self._bound)

    def _named(self, name):
        """The handle for a str; kept for as many of them as there may be aliases."""
        topic = self._topics.get(name)
        if topic is None:
            topic = Topic(name)
            if len(self._topics) < len(self.session._aliased):
                self._topics[name] = topic
            else:
                topic.alias = -1  # gone after this message: it would waste an alias
        return topic

    def request(self, topic, payload, **options):
        """Publish a request and return the payload of its answer: see `request.request`."""
        from ..request import request

        return request(self, topic, payload, **options)

    def respond(self, message, payload, **options):
        """Answer a request: see `respond.respond`."""
        from ..respond import respond

        return respond(self, message, payload, **options)

    def responder(self, topic_filter, function, **options):
        """Answer each request with what `function(message)` returns: see `respond.responder`."""
        from ..respond import responder

        return responder(self, topic_filter, function, **options)

    # ---- the link

    def connect(self, wait=True):
        """Connect, and from now on reconnect whenever `poll` finds the link gone.

        Returns True where the broker has resumed the session. With `wait=False` it returns
        at once and `poll` does it all. Raises OSError or MQTTError (the broker's reason code
        and string) where this first try fails, and then does not try again by itself.
        """
        if self.auth or self.session.auth:
            from ..optional.enhanced_auth import attach

            attach(self, self.auth)
        if wait or not self._wanted:
            self._wanted = True
            self._pause = self._tries = 0
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

    def reauthenticate(self, wait=True):
        """Authenticate once more in the live connection, by `auth` (4.12.1).

        Returns False where there is no connection or it is already under way. Other packets
        flow meanwhile. Where it fails the connection is closed: raises what `on_state` is told.
        With `wait=False`, and in a handler, it returns at once and `poll` does it.
        """
        from ..optional.enhanced_auth import again

        return again(self, wait)

    def disconnect(self, reason=0, properties=b""):
        """End the connection in good order, which deletes the will; `connect` begins anew.

        `reason` 0x04 has the will published. `properties`: session expiry, reason string, user
        properties. What they may be and what is raised: see `farewell`.
        """
        if reason or properties:
            from ..optional.disconnect import farewell

            farewell(self, reason, properties)
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

    def next_deadline(self):
        """For how many ms there is nothing to do, as of the last `poll`, unless the stream is ready.

        A loop of one's own waits so long for `stream` to be ready for `events()`, then polls.
        """
        return max(0, self._idle - ((ticks_ms() - self._now) & _MASK))

    def events(self):
        """What `stream` is waited for: 1 to read, 4 to write, as in `select`."""
        if self._link == _OPENING:
            return self._events
        if self.session.held:
            return _OUT
        return _IN | _OUT if self.session.pending() else _IN

    def _push(self):
        """Write now, and not at the next poll."""
        with self._guard:
            self._flush()

    def _step(self):
        """Do what there is to do now; returns for how many ms there is nothing, 0 for more now."""
        if self._busy:
            return 0
        self._busy = True
        self._idle = 0
        try:
            self._round()
        finally:
            self._busy = False
        return self._idle

    def _round(self):
        with self._guard:
            if self._link == _UP:
                self._exchange(self.session)
            else:
                self._open(ticks_ms())
        if self._chores:
            self._do_chores()

    def _do_chores(self):
        for chore in self._chores:
            self._idle = min(self._idle, chore(ticks_ms()))

    def _open(self, now):
        """The steps to a connection."""
        self._now = now
        waited = (now - self._since) & _MASK
        if self._link == _OPENING:
            for _ in self._poller.ipoll(0):
                self._events = self._opening() if self._opening else 0
                if not self._events:
                    self.session.open(now)
                    self._link = _UP
                    self._flush()
                    return
            self._idle = self.timeout - waited
            if self._idle <= 0:
                raise OSError(ETIMEDOUT, "no connection")
            return
        self._idle = max(0, self._pause - waited) if self._wanted else _MASK
        if not self._idle:
            self._since = now
            self.stream = self._transport(self.host, self.port)
            if hasattr(self.stream, "pollable"):
                self._pollable = self.stream.pollable
            else:
                self._pollable = self.stream
            self._opening = self.stream.opening if hasattr(self.stream, "opening") else None
            self._poller.register(self._pollable, _OUT)
            self._watched = self._events = _OUT
            self._link = _OPENING

    def _exchange(self, session):
        framer = session.framer
        if session.state == CLOSING:
            framer.reset()  # what still comes is read and thrown away
        n = None
        if session.held:
            session.parse()
            n = not session.held  # read once more: what TLS has read before, poll does not see everywhere
        else:
            n = self.stream.readinto(framer.into, framer.want)
            if n == 0:
                raise OSError(ECONNRESET, "closed by the broker")
            if n and session.state != CLOSING:
                session.received(n, ticks_ms())
        self._flush()
        if self._link == _UP:  # no handler has ended it
            self._now = ticks_ms()
            self._idle = session.tick(self._now)
            self._flush()
            if n:
                self._idle = 0
            if session.state == CLOSING and not session.output():
                self._drop(session.error)

    def _flush(self):
        session = self.session
        while self._link == _UP:
            n = session.output()
            if n:
                n = self.stream.write(session.out, session.out_at, n)
            if not n:
                return
            session.sent(n, ticks_ms())

    def _wait(self, wait):
        """Sleep until the stream is ready, for `wait` ms at most."""
        if not wait:
            return
        if self._link == _DOWN:
            sleep_ms(wait)
            return
        wanted = self.events()
        if wanted != self._watched:
            self._poller.modify(self._pollable, wanted)
            self._watched = wanted
        for _ in self._poller.ipoll(wait):
            pass

    def _connected(self):
        self.connects += 1
        self._was_up = True
        self._since = ticks_ms()
        self.error = None
        self._tell(True)

    def _drop(self, error):
        """The link is gone."""
        now = ticks_ms()
        session = self.session
        lived = max(1, (now - self._since) & _MASK) if self._was_up else 0
        self._was_up = False
        old = session.error
        # one that sends more than it may has got on by what we took: see _REMEMBERED
        if lived > _STABLE or (old and old.code == 0x93 and not old.from_broker):
            self._tries = 0
        if self.stream is not None:
            self._poller.unregister(self._pollable)
            self.stream.close()
            self.stream = None
        session.lost()
        self.error = old or error
        self.lasting = not lived and getattr(self.error, "lasting", False)
        self._pause = min(self.longest_pause, _FIRST_PAUSE << self._tries)
        self._pause = (self._pause + (getrandbits(15) * self._pause >> 14)) // 3
        if self.lasting:
            self._pause = _LASTING_PAUSE + 8 * self._pause
        if self._tries < 6:
            self._tries += 1
        self._link = _DOWN
        self._idle = 0
        self._since = now
        session.error = None
        self._tell(False)
        if self.follow:
            from ..optional.server_reference import moved

            moved(self, lived)
        for hook in self._drops:
            hook(self, lived)

    def _tell(self, connected):
        if self.on_state:
            with self.session.guard:
                self.on_state(self, connected, self.error)


def _data(payload):
    """What is published: bytes, or a str as UTF-8."""
    if isinstance(payload, str):
        return payload.encode()
    if isinstance(payload, _BYTES):
        return bytes(payload)
    raise TypeError("bytes or str expected")
