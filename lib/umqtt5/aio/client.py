"""The client under asyncio: the same session and the same loop, on MicroPython and on CPython.

    async with Client("broker.local", client_id="greenhouse-1") as client:
        async for message in client.messages("greenhouse-1/+/set", qos=1):
            await client.publish("greenhouse-1/seen", message.payload, qos=1)

What is waited for is awaited here, and everything else is done by a `umqtt5.core.client.Client`,
whose rounds run when its stream is ready and when its next deadline has come, never else: see
`loop`, and `hosted_aio` for CPython.
"""

import sys
from asyncio import Event
from errno import ENOTCONN, ETIMEDOUT

from micropython import const

from ..core.client import Client as Driver
from ..core.errors import Guard, MQTTError
from ..core.topics import encode_filter
from .messages import Answer, Messages

if sys.implementation.name == "cpython":
    from ..cpython.aio_scheduler import Loop
else:
    from .scheduler import Loop

_MASK = const(0x3FFFFFFF)
_DOWN = const(0)  # as in `client`
_UP = const(2)
# what is waited for, beside a packet identifier, a subscription, and a filter that is unsubscribed
_PLACE = const(0)
_LINK = const(-1)
_END = const(-2)

# what is read from the client below
_SHARED = ("connected", "connects", "error", "host", "lasting", "packet", "port", "session", "topic", "will")


class Wait:
    """One that waits: for `key`, `timeout` ms at most, None for as long as it takes."""

    def __init__(self, key, timeout, now):
        self.key = key
        self.timeout = timeout
        self.since = now
        self.event = Event()
        self.answer = self.error = None

    def end(self, answer, error=None):
        self.key = _PLACE  # a packet identifier may be another's from now on
        self.timeout = None
        self.answer = answer
        self.error = error
        self.event.set()

    def left(self, now):
        """The ms that it still has; it ends where there are none."""
        left = self.timeout - ((now - self.since) & _MASK)
        if left <= 0:
            self.end(None, OSError(ETIMEDOUT, "no answer"))
            return _MASK
        return left

    def told(self, message):
        """The answer to a request has come, or None came of it."""
        if message is None:
            self.end(None, OSError(ETIMEDOUT, "no answer"))
        else:
            self.end(message.payload)

    async def over(self):
        """Until the event is set; raises what has gone wrong."""
        await self.event.wait()
        self.event.clear()
        if self.error:
            raise self.error


def _shared(name):
    """An attribute of the client below, to read and to set."""

    def get(self):
        return getattr(self.driver, name)

    def put(self, value):
        setattr(self.driver, name, value)

    return property(get, put)


class Client:
    """An MQTT 5.0 client for asyncio. Its arguments, and what they cost, are those of `umqtt5.Client`.

    `async with` connects, and disconnects in the end. In between the link is kept up in the
    background, over reconnects; what is awaited goes on over them, too. Cancelling it leaves
    the client as it is: a message of QoS 1 or 2 that was taken is still sent, a subscription stays.
    Any number of tasks may use one client.

    `on_state`, `on_ack`, `on_subscribed`, `on_unsubscribed`, `on_error`, `auth`, `follow`,
    `longest_pause`, `topic`, `will`, `connected`, `error`, `packet` and `session` are those of
    `umqtt5.Client`; callbacks are plain functions. `driver` is that client itself: give it to what
    wants one, such as `stream.send`, then call `wake()`.

    Looking up a name blocks the loop, as it does there.
    """

    auth = _shared("auth")
    follow = _shared("follow")
    longest_pause = _shared("longest_pause")
    on_error = _shared("on_error")

    def __init__(self, host, port=None, **options):
        self.driver = driver = Driver(host, port, **options)
        self.on_state = self.on_ack = self.on_subscribed = self.on_unsubscribed = None
        self.held = None  # the acknowledgements that wait, where there are some
        self.open: list = []  # the iterators over messages
        self._waits: list = []
        self._lines: tuple = ([], [], [])  # who waits for room: at QoS 0, in the outbox, for a request
        self._loop = None
        self._left = 0  # ms until the next of them has waited long enough
        self._guard = Guard(Exception, self._broken)
        driver.on_state = self._state
        driver.on_ack = self._acked
        driver.on_subscribed = self._subscribed
        driver.on_unsubscribed = self._unsubscribed
        driver._chores.append(self._look)

    def __getattr__(self, name):
        if name in _SHARED:
            return getattr(self.driver, name)
        raise AttributeError(name)

    async def __aenter__(self):
        await self.connect()
        return self

    async def __aexit__(self, *error):
        await self.disconnect()

    # ---- the link

    async def connect(self, wait=True):
        """Connect, and from now on reconnect whenever the link is gone.

        Returns True where the broker has resumed the session. With `wait=False` it returns at once
        and the rest happens in the background. Raises OSError or MQTTError where this first try
        fails, and then does not try again by itself; nor where it is cancelled.
        """
        driver = self.driver
        if driver.connected:
            return driver.session.resumed
        if wait:
            driver._wanted = False  # that a pause ends
            driver.error = None
        driver.connect(wait=False)
        if not self._loop:
            self._loop = Loop(self._turn)
            self._loop.start()
        self.wake()
        if not wait:
            return False
        try:
            await self._until(Wait(_LINK, None, 0))
        finally:
            if not driver.connected:
                self._end()
        return driver.session.resumed

    async def disconnect(self, reason=0, properties=b""):
        """End the connection in good order: see `umqtt5.Client.disconnect`.

        Iterators over messages end when they have given out what came. Whoever waits for
        something gets OSError(ENOTCONN); an unacknowledged message stays in the outbox.
        """
        driver = self.driver
        if reason or properties:
            from ..optional.disconnect import farewell

            farewell(driver, reason, properties)
        driver._wanted = False
        driver.session.close(0)
        try:
            for messages in list(self.open):
                messages.close()
            if driver._link == _UP and self._loop:
                await self._until(Wait(_END, None, 0))  # the bound for a write ends it
        finally:
            self._end()

    def reauthenticate(self):
        """Begin to authenticate once more: see `umqtt5.Client.reauthenticate`; returns at once."""
        begun = self.driver.reauthenticate(wait=False)
        self.wake()
        return begun

    def wake(self):
        """Have a round run soon: what was asked of `driver` has to go out."""
        if self._loop:
            self._loop.wake()

    # ---- messages

    async def publish(self, topic, payload, qos=0, retain=False, properties=b"", timeout=None):
        """Publish, and wait until the message has arrived; returns its `messages.Answer`.

        Where there is no room, or at QoS 0 no link, it waits for it, in the order of the calls.
        At QoS 0 it returns None when the message is on its way, for which nobody answers. At QoS 1
        and 2 it returns the broker's PUBACK, PUBCOMP or PUBREC.

        Raises MQTTError where the broker refuses it or a limit of the broker forbids it, ValueError
        where it could never fit, OSError: ETIMEDOUT after `timeout` ms, ENOTCONN without
        `connect` and after `disconnect`. A message of QoS 1 or 2 that was taken by then stays
        in the outbox. A payload that is no str or bytes must not change while it waits.
        """
        driver = self.driver
        self._wanted()
        line = self._lines[1 if qos else 0]
        packet_id = 0 if line else driver.publish(topic, payload, qos, retain, properties)
        if not qos and packet_id:
            if driver.session.pending():
                self.wake()
            return None
        wait = Wait(_PLACE, timeout, driver._ticks())
        self._waits.append(wait)
        try:
            if not packet_id:
                arguments = (topic, payload, qos, retain, properties)
                packet_id = await self._in_line(line, wait, driver.publish, arguments)
            self.wake()
            if qos:
                wait.key = packet_id
                await wait.over()
        finally:
            self._waits.remove(wait)
        return _good(wait.answer)

    def messages(self, topic_filter, qos=0, queue=8, overflow="oldest", **options):
        """Subscribe, and have what comes in an `async for`: see `messages.Messages`."""
        return Messages(self, topic_filter, qos, queue, overflow, options)

    async def subscribe(self, topic_filter, handler, qos=0, timeout=None, **options):
        """Have `handler(message)` called, a plain function, as `umqtt5.Client.subscribe` does it.

        This is the way that allocates nothing per message. Returns the broker's answer, a
        `messages.Answer`, whose `reason` is the QoS that it grants. Raises MQTTError where it refuses,
        ValueError, and OSError as `publish` does: the subscription stays then.
        """
        self._wanted()
        subscription = self.driver.subscribe(topic_filter, handler, qos, **options)
        return await self._answer(subscription, timeout)

    async def unsubscribe(self, topic_filter, timeout=None):
        """End a subscription, and an iterator over its messages; returns the broker's answer.

        Raises ValueError where there is none, and as `subscribe` does.
        """
        self._wanted()
        data = encode_filter(topic_filter)
        for messages in self.open:
            if messages.subscription.filter == data:
                messages.close()
                break
        else:
            self.driver.unsubscribe(topic_filter)
        return await self._answer(data, timeout)

    async def request(self, topic, payload, timeout=10000, qos=0, properties=b""):
        """Publish a request and return the payload of its answer: see `request.request`.

        Raises OSError: ETIMEDOUT where none has come after `timeout` ms, ENOTCONN; MQTTError
        where the broker refuses our response topic or a limit of the broker forbids the request.
        """
        driver = self.driver
        self._wanted()
        wait = Wait(_PLACE, timeout, driver._ticks())

        def ask():
            return driver.request(
                topic, payload, timeout=timeout, on_answer=wait.told, qos=qos, properties=properties
            )

        self._waits.append(wait)
        try:
            if self._lines[2] or not ask():
                await self._in_line(self._lines[2], wait, ask, ())
            self.wake()
            await wait.over()
        finally:
            self._waits.remove(wait)
        return wait.answer

    def respond(self, message, payload, **options):
        """Answer a request, now or as soon as there is a link and room: see `respond.respond`."""
        done = self.driver.respond(message, payload, **options)
        self.wake()
        return done

    async def responder(self, topic_filter, function, qos=1, timeout=None, **options):
        """Answer each request with what `function(message)` returns, a plain function.

        Returns and raises as `subscribe` does.
        """
        self._wanted()
        return await self._answer(self.driver.responder(topic_filter, function, qos=qos, **options), timeout)

    # ---- who waits

    def _wanted(self):
        if not self.driver._wanted:
            raise OSError(ENOTCONN, "not connected")

    async def _until(self, wait):
        """Wait among the others, with a round soon."""
        self._waits.append(wait)
        self.wake()
        try:
            await wait.over()
        finally:
            self._waits.remove(wait)
        return wait.answer

    async def _answer(self, key, timeout):
        """The broker's answer for a subscription, or for a filter that is unsubscribed."""
        return _good(await self._until(Wait(key, timeout, self.driver._ticks())))

    async def _in_line(self, line, wait, send, arguments):
        """Wait in line until `send` has a true result: the first is woken with each round."""
        session = self.driver.session
        line.append(wait)
        try:
            while True:
                if session.subscriptions.pending and not session.pending():
                    self.wake()  # a request has to be preceded by its subscription
                await wait.over()
                done = send(*arguments)
                if done:
                    return done
        finally:
            line.remove(wait)
            if line:
                line[0].event.set()

    def _answered(self, key, packet):
        for wait in self._waits:
            if wait.key == key:
                wait.end(Answer(packet))

    # ---- what the client below tells

    def _acked(self, packet):
        self._answered(packet.packet_id, packet)
        if self.on_ack:
            self.on_ack(packet)

    def _subscribed(self, subscription, packet):
        self._answered(subscription, packet)
        for messages in self.open:
            if messages.subscription is subscription:
                messages.answered(packet)
        if self.on_subscribed:
            self.on_subscribed(subscription, packet)

    def _unsubscribed(self, subscription, packet):
        self._answered(subscription.filter, packet)
        self._answered(subscription, packet)  # who subscribed and was overtaken
        if self.on_unsubscribed:
            self.on_unsubscribed(subscription, packet)

    def _state(self, driver, connected, error):
        if not connected:
            if self._loop:
                self._loop.forget()
                self._loop.wake()
        else:
            if self.held:
                self.held.connected()
            for wait in self._waits:
                # in a new session there is nothing to unsubscribe from
                if isinstance(wait.key, bytes) and not driver.session.subscriptions.find(wait.key):
                    wait.end(None)
        if self.on_state:
            self.on_state(self, connected, error)

    def _look(self, now):
        """One of the chores of a round: who has waited long enough; the ms until the next has."""
        self._nudge()
        self._left = _MASK
        for wait in self._waits:
            self._check(wait, now)
        return self._left

    def _nudge(self):
        for line in self._lines:
            if line:
                line[0].event.set()

    def _check(self, wait, now):
        """End a wait that is over, by its time or by what the link has become."""
        driver = self.driver
        if wait.timeout is not None:
            self._left = min(self._left, wait.left(now))
        elif wait.key == _END:
            if driver._link == _DOWN:
                wait.end(None)
        elif wait.key == _LINK:
            if driver.connected:
                wait.end(None)
            elif driver._link == _DOWN and driver.error:
                driver._wanted = False
                wait.end(None, driver.error)

    # ---- rounds

    def _turn(self):
        """One round, and what is waited for until the next."""
        driver = self.driver
        with self._guard:
            driver._step()
        loop = self._loop
        if loop:
            if driver.stream is not None:
                loop.watch(driver._pollable, driver.events())
            loop.due(driver.next_deadline())

    def _broken(self, error):
        """What no transport should raise: as if the link were gone."""
        self.driver.session._failed(error)
        self.driver._drop(error)

    def _end(self):
        """Nothing goes on in the background any more."""
        driver = self.driver
        driver._wanted = False
        if driver._link != _DOWN:
            driver._drop(None)
        if self._loop:
            self._loop.stop()
            self._loop = None
        for wait in self._waits:
            wait.end(None, None if wait.key == _END else OSError(ENOTCONN, "disconnected"))


def _good(answer):
    """The answer, unless it is a refusal."""
    if answer and answer.reason >= 0x80:
        raise MQTTError(answer.reason, answer.detail)
    return answer
