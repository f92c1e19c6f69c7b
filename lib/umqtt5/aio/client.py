"""The asyncio client: coroutines to publish, subscribe, receive and request. It reconnects automatically.

    async with Client("broker.local", client_id="greenhouse-1") as client:
        async for message in client.messages("greenhouse-1/+/set", qos=1):
            await client.publish("greenhouse-1/seen", message.payload, qos=1)

A `umqtt5.Client` does the work. `scheduler` runs it when its stream is ready, when its next timeout is due,
and after `wake`. On CPython `cpython.aio_scheduler` does this.
"""

from asyncio import CancelledError
from errno import ENOTCONN

from ..core.client import Client as SyncClient
from ..core.errors import CatchErrors, MQTTError
from ..core.session import print_exception
from ..core.topics import encode_filter
from .connection import connect, disconnect, enter_loop, reset_loop, run_once
from .handlers import finish_callback, wrap_handler
from .messages import WAIT_MESSAGE, MessageIterator
from .waiters import (
    QUEUE_OUTBOX,
    QUEUE_QOS_0,
    QUEUE_REQUEST,
    WAIT_ROOM,
    add_waiter,
    check_waiters,
    finish_removed,
    finish_waiters,
    forget_request,
    send_only,
    wait_for,
    wait_in_queue,
)

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
    `connection_count`, `has_permanent_error`, `host`, `port`, `error`, `packet` and `session`. Handlers and
    callbacks may be plain functions or coroutine functions: see docs/asyncio.md.

    `sync_client` is the `umqtt5.Client` itself, for functions that need one, such as `streaming.send`. Call
    `wake()` after using it.
    """

    auth = _shared("auth")
    follow_redirects = _shared("follow_redirects")
    max_reconnect_delay = _shared("max_reconnect_delay")
    on_error = None
    coroutines = None  # CoroutineHandlers, if a handler or callback is a coroutine function

    # functions of `connection` that work as methods
    connect = connect
    disconnect = disconnect
    _enter_loop = enter_loop
    _run_once = run_once

    def __init__(self, host, port=None, **options):
        self.sync_client = client = SyncClient(host, port, **options)
        self.on_state = self.on_ack = self.on_subscribed = self.on_unsubscribed = None
        self.deferred_acks = None  # a DeferredAcks if an iterator has overflow="wait"
        self.iterators: list = []  # the open `MessageIterator`s
        self._is_owned = False  # whether the program relies on the connection: see `connection`
        self._next_ms = 0  # ms until the next timeout of a waiter
        # a callback that raises CancelledError must not end the task of the scheduler
        self._catch_errors = CatchErrors((Exception, CancelledError), self._on_unexpected_error)
        self._scheduler = None
        self._is_running = False  # whether a run has begun and not ended: see `connection.enter_loop`
        reset_loop(self, None)
        client.on_state = self._on_state
        client.on_ack = self._on_ack
        client.on_subscribed = self._on_subscribed
        client.on_unsubscribed = self._on_unsubscribed
        client.on_error = self._on_error
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
        self._require_connected()
        client = self.sync_client
        queue = self._queues[QUEUE_OUTBOX if qos else QUEUE_QOS_0]
        packet_id = 0
        if not queue:
            self._begin_send()
            try:
                packet_id = client.publish(topic, payload, qos, retain, properties)
            finally:
                client._is_polling = self._was_polling
        if not qos and packet_id:
            if client.session.has_output():
                self.wake()
            return None
        waiters = self._waiters
        waiter = add_waiter(self, WAIT_ROOM, timeout)
        try:
            if not packet_id:
                arguments = (topic, payload, qos, retain, properties)
                packet_id = await wait_in_queue(self, queue, waiter, client.publish, arguments)
                self.wake()
            if qos:
                waiter.key = packet_id
                await waiter.wait()
        finally:
            waiters.remove(waiter)
        return _check_ack(waiter.answer)

    def messages(self, topic_filter, qos=0, queue_size=8, overflow="oldest", timeout=None, **options):
        """Subscribe; returns an iterator of messages for `async for`: see docs/asyncio.md."""
        return MessageIterator(self, topic_filter, qos, queue_size, overflow, timeout, options)

    async def subscribe(self, topic_filter, handler, qos=0, timeout=None, **options):
        """Subscribe a function `handler(message)`, as `umqtt5.Client.subscribe` does.

        If it is a plain function, nothing is allocated per message, unlike with `messages`. If it is a
        coroutine function, a task runs it with a copy of the message.

        Waits for SUBACK and returns it as an `Ack`, whose `reason` is the granted QoS. Raises
        MQTTError if the broker refuses the subscription, ValueError for invalid arguments, and OSError as
        `publish` does. After an OSError the subscription stays.
        """
        self._require_connected()
        handler = wrap_handler(self, handler, options)
        subscription = self.sync_client.subscribe(topic_filter, handler, qos, **options)
        return _check_ack(await wait_for(self, subscription, timeout))

    def on(self, topic_filter, qos=0, **options):
        """Return a decorator that subscribes its function, also before `connect`: see `subscribe`."""

        def decorate(handler):
            self.sync_client.subscribe(topic_filter, wrap_handler(self, handler, options), qos, **options)
            self.wake()
            return handler

        return decorate

    async def unsubscribe(self, topic_filter, timeout=None):
        """End a subscription and the iterator over its messages; returns the broker's answer.

        The filter may be one to which an earlier program with this session has subscribed. Raises the
        exceptions of `subscribe`.
        """
        self._require_connected()
        data = encode_filter(topic_filter) if isinstance(topic_filter, str) else b""  # or a list
        for messages in self.iterators:
            if messages.subscription.topic_filter == data:
                messages.close()
                break
        else:
            data = self.sync_client.unsubscribe(topic_filter).topic_filter
        return _check_ack(await wait_for(self, data, timeout))

    async def request(self, topic, payload, timeout=10000, qos=0, properties=b""):
        """Publish a request and return the payload of the response.

        Raises OSError(ETIMEDOUT) if no response arrives within `timeout` ms, OSError(ENOTCONN) as `publish`
        does, and MQTTError if the broker refuses the response topic or a limit of the broker forbids the
        request.
        """
        self._require_connected()
        client = self.sync_client
        waiters, queue = self._waiters, self._queues[QUEUE_REQUEST]
        waiter = add_waiter(self, WAIT_ROOM, timeout)
        on_response = waiter.on_response

        def send():
            left = waiter.time_left(client._ticks_ms())  # a part of the timeout was spent in the queue
            return left > 0 and client.request(
                topic, payload, timeout=left, on_response=on_response, qos=qos, properties=properties
            )

        try:
            if queue or not send_only(client, send, ()):
                await wait_in_queue(self, queue, waiter, send, ())
            self.wake()
            await waiter.wait()
        finally:
            waiters.remove(waiter)
            forget_request(client, on_response)
            if queue and waiters is self._waiters:
                queue[0].event.set()  # a place for a request may have become free
        return waiter.answer

    def respond(self, message, payload, **options):
        """Respond to a request, now or as soon as there is a connection and room.

        See `umqtt5.Client.respond`.
        """
        done = self.sync_client.respond(message, payload, **options)
        self.wake()
        return done

    async def responder(self, topic_filter, function, qos=1, timeout=None, **options):
        """Respond to each request with the result of `function(message)`, which may be a coroutine function.

        Returns and raises the same as `subscribe`.
        """
        self._require_connected()
        function = wrap_handler(self, function, options, True)
        subscription = self.sync_client.responder(topic_filter, function, qos=qos, **options)
        return _check_ack(await wait_for(self, subscription, timeout))

    def _add_timeout(self, timeout):
        """Return a waiter for a wait of an iterator, None if its time is not limited."""
        return None if timeout is None else add_waiter(self, WAIT_MESSAGE, timeout)

    def _begin_send(self):
        """Keep the sync client from receiving while it sends; see `waiters.send_only`."""
        self._was_polling = self.sync_client._is_polling
        self.sync_client._is_polling = True

    def _require_connected(self):
        enter_loop(self)
        if not self.sync_client._should_connect:
            raise OSError(ENOTCONN, "not connected")

    # ---- callbacks of the sync client

    def _on_error(self, error):
        """Callback `on_error` of the sync client. An exception that it raises must not end the scheduler."""
        try:
            if self.on_error:
                finish_callback(self, self.on_error(error), self.on_error, error)
            else:
                print_exception(error)
        except Exception as unhandled:
            print_exception(unhandled)

    def _on_ack(self, packet):
        finish_waiters(self, packet.packet_id, packet)
        if self.on_ack:
            result = self.on_ack(packet)
            if result is not None:
                finish_callback(self, result, self.on_ack, packet)

    def _on_subscribed(self, subscription, packet):
        finish_waiters(self, subscription, packet)
        for messages in self.iterators:
            if messages.subscription is subscription:
                messages.handle_suback(packet)
        if self.on_subscribed:
            result = self.on_subscribed(subscription, packet)
            finish_callback(self, result, self.on_subscribed, subscription, packet)

    def _on_unsubscribed(self, subscription, packet):
        finish_waiters(self, subscription.topic_filter, packet)
        finish_waiters(self, subscription, packet)  # a `subscribe` that still waits for SUBACK
        if self.on_unsubscribed:
            result = self.on_unsubscribed(subscription, packet)
            finish_callback(self, result, self.on_unsubscribed, subscription, packet)

    def _on_state(self, client, connected, error):
        if not connected:
            if self._scheduler:
                self._scheduler.unwatch()
                self._scheduler.wake()
        else:
            if self.deferred_acks:
                self.deferred_acks.handle_connected()
            if self.coroutines:
                self.coroutines.handle_connected(client.session.resumed)
            finish_removed(self)
        if self.on_state:
            finish_callback(
                self, self.on_state(self, connected, error), self.on_state, self, connected, error
            )

    def _check_waiters(self, now):
        """Poll hook of the sync client; returns the ms until it must run again."""
        return check_waiters(self, now)

    def _on_unexpected_error(self, error):
        """Report an unexpected exception, and treat the connection as lost."""
        self.sync_client.session._report_error(error)
        self.sync_client._on_link_lost(error)


def _check_ack(ack):
    """Return the broker's answer. Raises MQTTError if it is a refusal."""
    if ack and ack.reason >= 0x80:
        raise MQTTError(ack.reason, ack.detail)
    return ack
