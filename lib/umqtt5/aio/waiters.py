"""Coroutines that wait for a packet, for room or for the link: their queues, results and timeouts."""

from asyncio import Event
from errno import ENOTCONN, ETIMEDOUT

from micropython import const

from ..core.states import LINK_DOWN, TICKS_MASK
from .messages import WAIT_MESSAGE, Ack

# Keys of a waiter: one of these constants or WAIT_MESSAGE, a packet identifier, a Subscription, or the topic
# filter (bytes) of a subscription that is being removed. None if the wait has ended.
WAIT_ROOM = const(0)
WAIT_LINK_UP = const(-1)
WAIT_LINK_DOWN = const(-2)

# the queues in which waiters wait for room, in the order of their calls
QUEUE_QOS_0 = const(0)
QUEUE_OUTBOX = const(1)
QUEUE_REQUEST = const(2)


class Waiter:
    """A coroutine that waits for `key`, for at most `timeout` ms. None means that there is no limit."""

    def __init__(self, key, timeout, now):
        self.key = key
        self.timeout = timeout
        self.since = now
        self.event = Event()
        self.answer = self.error = None

    def end(self, answer, error=None):
        """End the wait with a result or an error, unless it has ended before."""
        if self.key is not None:
            self.key = None  # another message may get the packet identifier now
            self.timeout = None
            self.answer = answer
            self.error = error
            self.event.set()

    def time_left(self, now):
        """Return the ms until the timeout."""
        return self.timeout - ((now - self.since) & TICKS_MASK)

    def remaining(self, now):
        """Return the ms until the timeout. Ends the wait if the timeout is over."""
        left = self.time_left(now)
        if left <= 0:
            self.end(None, OSError(ETIMEDOUT, "no answer"))
            return TICKS_MASK
        return left

    def on_response(self, message):
        """Handle the response to a request; `message` is None after the timeout."""
        if message is None:
            self.end(None, OSError(ETIMEDOUT, "no answer"))
        else:
            self.end(message.payload)

    async def wait(self):
        """Wait until the event is set. Raises the error of the wait."""
        await self.event.wait()
        self.event.clear()
        if self.error:
            raise self.error


def add_waiter(client, key, timeout=None):
    """Return a new waiter of the asyncio client `client`.

    The client is woken. Otherwise it would look at the timeout only in its next run, which can be a minute
    away while the client waits to reconnect. Each run schedules the next one no later than the next timeout.
    """
    waiter = Waiter(key, timeout, client.sync_client._ticks_ms())
    client._waiters.append(waiter)
    client.wake()
    return waiter


async def wait_for(client, key, timeout=None):
    """Wait for `key`; returns the result."""
    waiters = client._waiters  # another event loop gets another list
    waiter = add_waiter(client, key, timeout)
    try:
        await waiter.wait()
    finally:
        waiters.remove(waiter)
    return waiter.answer


async def wait_in_queue(client, queue, waiter, send, arguments):
    """Wait until `send(*arguments)` returns a true result. Each run of the client wakes the first waiter."""
    sync_client = client.sync_client
    session = sync_client.session
    waiters = client._waiters
    queue.append(waiter)
    try:
        while True:
            # without a connection this would be a busy loop
            if sync_client.is_connected and session.subscriptions.has_pending and not session.has_output():
                client.wake()  # a request waits until its response topic is subscribed
            await waiter.wait()
            result = send_only(sync_client, send, arguments)
            if result:
                return result
    finally:
        queue.remove(waiter)
        if queue and waiters is client._waiters:  # else the event loop of the others has ended
            queue[0].event.set()


def send_only(client, send, arguments):
    """Return `send(*arguments)`. The sync client does not receive meanwhile.

    Otherwise it could receive the acknowledgement before the waiter has the packet identifier.
    """
    was_polling = client._is_polling
    client._is_polling = True
    try:
        return send(*arguments)
    finally:
        client._is_polling = was_polling


def forget_request(client, on_response):
    """Free the place of a request whose coroutine does not wait any more."""
    if hasattr(client, "_pending_requests"):
        pending = client._pending_requests._open
        for request in pending:
            if request.on_response is on_response:
                pending.remove(request)
                break


def finish_waiters(client, key, packet):
    """End the waits for `key` with the broker's answer."""
    for waiter in client._waiters:
        if waiter.key == key:
            waiter.end(Ack(packet))


def finish_removed(client):
    """End the waits for subscriptions that a new session has removed from the table."""
    subscriptions = client.sync_client.session.subscriptions
    for waiter in client._waiters:
        key = waiter.key
        if key and not isinstance(key, int) and not subscriptions.find(getattr(key, "topic_filter", key)):
            waiter.end(None)


def check_waiters(client, now):
    """Wake the queues and end the waits that are over; return the ms until the next timeout."""
    _wake_queues(client)
    client._next_ms = TICKS_MASK
    for waiter in client._waiters:
        _check_waiter(client, waiter, now)
    return client._next_ms


def _wake_queues(client):
    for queue in client._queues:
        if queue:
            queue[0].event.set()


def _check_waiter(client, waiter, now):
    """End a wait if its timeout is over or the link has the state that it waits for."""
    sync_client = client.sync_client
    if waiter.key == WAIT_LINK_DOWN:
        if sync_client._link == LINK_DOWN:
            waiter.end(None)
    elif waiter.key == WAIT_LINK_UP:
        if sync_client.is_connected:
            waiter.end(None)
        elif sync_client._link == LINK_DOWN and sync_client.error:
            sync_client._should_connect = client._is_owned
            waiter.end(None, sync_client.error)
    if waiter.timeout is not None:
        client._next_ms = min(client._next_ms, waiter.remaining(now))


def end_waiters(client):
    """End all waits, because the client is disconnected."""
    for waiter in client._waiters:
        if waiter.key != WAIT_MESSAGE:
            waiter.end(None, None if waiter.key == WAIT_LINK_DOWN else OSError(ENOTCONN, "disconnected"))
