"""The asyncio client: coroutines to publish, subscribe, receive and request. It reconnects automatically.

    async with Client("broker.local", client_id="greenhouse-1") as client:
        async for message in client.messages("greenhouse-1/+/set", qos=1):
            await client.publish("greenhouse-1/seen", message.payload, qos=1)

A `umqtt5.Client` does the work. `scheduler` runs it when its stream is ready, when its next timeout is due,
and after `wake`. On CPython `cpython.aio_scheduler` does this.
"""

import sys
from errno import ENOTCONN

from ..core.client import Client as SyncClient
from ..core.errors import CatchErrors, MQTTError
from ..core.states import LINK_DOWN, LINK_UP
from ..core.topics import encode_filter
from .messages import MessageIterator
from .waiters import (
    QUEUE_OUTBOX,
    QUEUE_QOS_0,
    QUEUE_REQUEST,
    WAIT_LINK_DOWN,
    WAIT_LINK_UP,
    WAIT_ROOM,
    Waiter,
    check_waiters,
    end_waiters,
    finish_waiters,
    wait_for,
    wait_in_queue,
)

if sys.implementation.name == "cpython":
    from ..cpython.aio_scheduler import Scheduler
else:
    from .scheduler import Scheduler

# attributes of the sync client that can be read from this client as well
_SHARED = (
    "is_connected",
    "connection_count",
    "error",
    "host",
    "has_permanent_error",
    "packet",
    "port",
    "session",
    "topic",
    "will",
)


def _shared(name):
    """Return a property that reads and sets an attribute of the sync client."""

    def get(self):
        return getattr(self.sync_client, name)

    def put(self, value):
        setattr(self.sync_client, name, value)

    return property(get, put)


class Client:
    """An MQTT 5.0 client for asyncio. It takes the arguments of `umqtt5.Client`.

    `async with` connects at its start and disconnects at its end. In between the client reconnects in the
    background, and waiting coroutines keep waiting across reconnects. Cancelling a coroutine does not undo
    anything: an accepted message of QoS 1 or 2 is still sent, and a subscription stays. Any number of tasks
    may use one client.

    These attributes work as in `umqtt5.Client`: `on_state`, `on_ack`, `on_subscribed`, `on_unsubscribed`,
    `on_error`, `auth`, `follow_redirects`, `max_reconnect_delay`, `topic`, `will`, `is_connected`,
    `connection_count`, `has_permanent_error`, `host`, `port`, `error`, `packet` and `session`. Callbacks are
    plain functions.

    `sync_client` is the `umqtt5.Client` itself, for functions that need one, such as `streaming.send`. Call
    `wake()` after using it.
    """

    auth = _shared("auth")
    follow_redirects = _shared("follow_redirects")
    max_reconnect_delay = _shared("max_reconnect_delay")
    on_error = _shared("on_error")

    def __init__(self, host, port=None, **options):
        self.sync_client = client = SyncClient(host, port, **options)
        self.on_state = self.on_ack = self.on_subscribed = self.on_unsubscribed = None
        self.deferred_acks = None  # a DeferredAcks if an iterator has overflow="wait"
        self.iterators: list = []  # the open `MessageIterator`s
        self._waiters: list = []
        self._queues: tuple = ([], [], [])  # lists of waiters for room, indexed by QUEUE_QOS_0 etc.
        self._scheduler = None
        self._next_ms = 0  # ms until the next timeout of a waiter
        self._catch_errors = CatchErrors(Exception, self._on_unexpected_error)
        client.on_state = self._on_state
        client.on_ack = self._on_ack
        client.on_subscribed = self._on_subscribed
        client.on_unsubscribed = self._on_unsubscribed
        client._poll_hooks.append(self._check_waiters)

    def __getattr__(self, name):
        if name in _SHARED:
            return getattr(self.sync_client, name)
        raise AttributeError(name)

    async def __aenter__(self):
        await self.connect()
        return self

    async def __aexit__(self, *error):
        await self.disconnect()

    # ---- the connection

    async def connect(self, wait=True):
        """Connect, and reconnect from now on whenever the connection is lost.

        Returns True if the broker has resumed the session. With `wait=False` it returns False at once and
        connects in the background. Raises OSError or MQTTError if the first try fails. After a failed or
        cancelled first try the client does not try again by itself.
        """
        client = self.sync_client
        if client.is_connected:
            return client.session.resumed
        if wait:
            client._should_connect = False  # so that `connect` below tries at once, without a delay
            client.error = None
        client.connect(wait=False)
        if not self._scheduler:
            self._scheduler = Scheduler(self._run_once)
            self._scheduler.start()
        self.wake()
        if not wait:
            return False
        try:
            await wait_for(self, WAIT_LINK_UP)
        finally:
            if not client.is_connected:
                self._stop()
        return client.session.resumed

    async def disconnect(self, reason=0, properties=b""):
        """Send DISCONNECT and close the connection; see `umqtt5.Client.disconnect`.

        Iterators end after they have returned the messages that have already arrived. Other waiting
        coroutines raise OSError(ENOTCONN). An unacknowledged message stays in the outbox.
        """
        client = self.sync_client
        if reason or properties:
            from ..optional.disconnect import send_disconnect

            send_disconnect(client, reason, properties)
        client._should_connect = False
        client.session.close(0)
        try:
            for messages in list(self.iterators):
                messages.close()
            if client._link == LINK_UP and self._scheduler:
                await wait_for(self, WAIT_LINK_DOWN)  # at most until the write timeout
        finally:
            self._stop()

    def reauthenticate(self):
        """Begin a re-authentication and return at once; see `umqtt5.Client.reauthenticate`."""
        begun = self.sync_client.reauthenticate(wait=False)
        self.wake()
        return begun

    def wake(self):
        """Run the client soon. Call it after using `sync_client` directly."""
        if self._scheduler:
            self._scheduler.wake()

    # ---- messages

    async def publish(self, topic, payload, qos=0, retain=False, properties=b"", timeout=None):
        """Publish a message and wait for the acknowledgement; returns it as a `messages.Ack`.

        The call waits if there is no room. At QoS 0 it also waits if there is no connection. Waiting calls
        continue in the order in which they were made. At QoS 0 the call returns None when the message is in
        the transmit buffer. At QoS 1 and 2 it returns the PUBACK or PUBCOMP. A refusal (PUBACK or PUBREC with
        an error) raises MQTTError.

        Raises MQTTError if the broker refuses the message or a limit of the broker forbids it, ValueError if
        it can never fit, OSError(ETIMEDOUT) after `timeout` ms, OSError(ENOTCONN) before `connect` and after
        `disconnect`. After an OSError an accepted message of QoS 1 or 2 stays in the outbox. A payload that
        is neither str nor bytes must not change during the wait.
        """
        client = self.sync_client
        self._require_connected()
        queue = self._queues[QUEUE_OUTBOX if qos else QUEUE_QOS_0]
        packet_id = 0 if queue else client.publish(topic, payload, qos, retain, properties)
        if not qos and packet_id:
            if client.session.has_output():
                self.wake()
            return None
        waiter = Waiter(WAIT_ROOM, timeout, client._ticks_ms())
        self._waiters.append(waiter)
        try:
            if not packet_id:
                arguments = (topic, payload, qos, retain, properties)
                packet_id = await wait_in_queue(self, queue, waiter, client.publish, arguments)
            self.wake()
            if qos:
                waiter.key = packet_id
                await waiter.wait()
        finally:
            self._waiters.remove(waiter)
        return _check_ack(waiter.answer)

    def messages(self, topic_filter, qos=0, queue_size=8, overflow="oldest", **options):
        """Subscribe; returns an iterator for `async for`, see `messages.MessageIterator`."""
        return MessageIterator(self, topic_filter, qos, queue_size, overflow, options)

    async def subscribe(self, topic_filter, handler, qos=0, timeout=None, **options):
        """Subscribe a plain function `handler(message)`, as `umqtt5.Client.subscribe` does.

        Unlike `messages`, it allocates nothing per message. Waits for SUBACK and returns it as a
        `messages.Ack`, whose `reason` is the granted QoS. Raises MQTTError if the broker refuses the
        subscription, ValueError for invalid arguments, and OSError as `publish` does. After an OSError the
        subscription stays.
        """
        self._require_connected()
        subscription = self.sync_client.subscribe(topic_filter, handler, qos, **options)
        return _check_ack(await wait_for(self, subscription, timeout))

    async def unsubscribe(self, topic_filter, timeout=None):
        """End a subscription and the iterator over its messages; returns the broker's answer.

        Raises ValueError if there is no such subscription, and the other exceptions of `subscribe`.
        """
        self._require_connected()
        data = encode_filter(topic_filter)
        for messages in self.iterators:
            if messages.subscription.topic_filter == data:
                messages.close()
                break
        else:
            self.sync_client.unsubscribe(topic_filter)
        return _check_ack(await wait_for(self, data, timeout))

    async def request(self, topic, payload, timeout=10000, qos=0, properties=b""):
        """Publish a request and return the payload of the response; see `request.request`.

        Raises OSError(ETIMEDOUT) if no response arrives within `timeout` ms, OSError(ENOTCONN) as `publish`
        does, and MQTTError if the broker refuses the response topic or a limit of the broker forbids the
        request.
        """
        client = self.sync_client
        self._require_connected()
        waiter = Waiter(WAIT_ROOM, timeout, client._ticks_ms())

        def send():
            return client.request(
                topic,
                payload,
                timeout=timeout,
                on_response=waiter.on_response,
                qos=qos,
                properties=properties,
            )

        queue = self._queues[QUEUE_REQUEST]
        self._waiters.append(waiter)
        try:
            if queue or not send():
                await wait_in_queue(self, queue, waiter, send, ())
            self.wake()
            await waiter.wait()
        finally:
            self._waiters.remove(waiter)
        return waiter.answer

    def respond(self, message, payload, **options):
        """Respond to a request, now or as soon as there is a connection and room; see `respond.respond`."""
        done = self.sync_client.respond(message, payload, **options)
        self.wake()
        return done

    async def responder(self, topic_filter, function, qos=1, timeout=None, **options):
        """Respond to each request with the result of the plain function `function(message)`.

        Returns and raises the same as `subscribe`.
        """
        self._require_connected()
        subscription = self.sync_client.responder(topic_filter, function, qos=qos, **options)
        return _check_ack(await wait_for(self, subscription, timeout))

    def _require_connected(self):
        if not self.sync_client._should_connect:
            raise OSError(ENOTCONN, "not connected")

    # ---- callbacks of the sync client

    def _on_ack(self, packet):
        finish_waiters(self, packet.packet_id, packet)
        if self.on_ack:
            self.on_ack(packet)

    def _on_subscribed(self, subscription, packet):
        finish_waiters(self, subscription, packet)
        for messages in self.iterators:
            if messages.subscription is subscription:
                messages.handle_suback(packet)
        if self.on_subscribed:
            self.on_subscribed(subscription, packet)

    def _on_unsubscribed(self, subscription, packet):
        finish_waiters(self, subscription.topic_filter, packet)
        finish_waiters(self, subscription, packet)  # a `subscribe` that still waits for SUBACK
        if self.on_unsubscribed:
            self.on_unsubscribed(subscription, packet)

    def _on_state(self, client, connected, error):
        if not connected:
            if self._scheduler:
                self._scheduler.unwatch()
                self._scheduler.wake()
        else:
            if self.deferred_acks:
                self.deferred_acks.handle_connected()
            for waiter in self._waiters:
                # a new session has nothing to unsubscribe from
                if isinstance(waiter.key, bytes) and not client.session.subscriptions.find(waiter.key):
                    waiter.end(None)
        if self.on_state:
            self.on_state(self, connected, error)

    def _check_waiters(self, now):
        """Poll hook of the sync client; returns the ms until it must run again."""
        return check_waiters(self, now)

    # ---- running the sync client

    def _run_once(self):
        """Run the sync client once, and schedule the next run."""
        client = self.sync_client
        with self._catch_errors:
            client._poll_once()
        scheduler = self._scheduler
        if scheduler:
            if client.stream is not None:
                scheduler.watch(client._pollable, client.poll_events())
            scheduler.schedule(client.next_timeout())

    def _on_unexpected_error(self, error):
        """Report an unexpected exception, and treat the connection as lost."""
        self.sync_client.session._report_error(error)
        self.sync_client._on_link_lost(error)

    def _stop(self):
        """Close the connection, stop the scheduler and end all waits."""
        client = self.sync_client
        client._should_connect = False
        if client._link != LINK_DOWN:
            client._on_link_lost(None)
        if self._scheduler:
            self._scheduler.stop()
            self._scheduler = None
        end_waiters(self)


def _check_ack(ack):
    """Return the broker's answer. Raises MQTTError if it is a refusal."""
    if ack and ack.reason >= 0x80:
        raise MQTTError(ack.reason, ack.detail)
    return ack
