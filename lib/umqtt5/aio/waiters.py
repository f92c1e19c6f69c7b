"""Coroutines that wait for a packet, for room or for the link: their queues, results and timeouts."""

from asyncio import Event
from errno import ENOTCONN, ETIMEDOUT

from micropython import const

from ..core.states import LINK_DOWN, TICKS_MASK
from .messages import Ack

# Keys of a waiter: one of these constants, a packet identifier, a Subscription, or the topic filter (bytes)
# of a subscription that is being removed.
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
        """End the wait with a result or an error."""
        self.key = WAIT_ROOM  # another message may get the packet identifier now
        self.timeout = None
        self.answer = answer
        self.error = error
        self.event.set()

    def remaining(self, now):
        """Return the ms until the timeout. Ends the wait if the timeout is over."""
        left = self.timeout - ((now - self.since) & TICKS_MASK)
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


async def wait_for(client, key, timeout=None):
    """Wake the asyncio client `client` and wait for `key`; returns the result."""
    waiter = Waiter(key, timeout, client.sync_client._ticks_ms())
    client._waiters.append(waiter)
    client.wake()
    try:
        await waiter.wait()
    finally:
        client._waiters.remove(waiter)
    return waiter.answer


async def wait_in_queue(client, queue, waiter, send, arguments):
    """Wait until `send(*arguments)` returns a true result. Each run of the client wakes the first waiter."""
    session = client.sync_client.session
    queue.append(waiter)
    try:
        while True:
            if session.subscriptions.has_pending and not session.has_output():
                client.wake()  # a request waits until its response topic is subscribed
            await waiter.wait()
            result = send(*arguments)
            if result:
                return result
    finally:
        queue.remove(waiter)
        if queue:
            queue[0].event.set()


def finish_waiters(client, key, packet):
    """End the waits for `key` with the broker's answer."""
    for waiter in client._waiters:
        if waiter.key == key:
            waiter.end(Ack(packet))


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
    if waiter.timeout is not None:
        client._next_ms = min(client._next_ms, waiter.remaining(now))
    elif waiter.key == WAIT_LINK_DOWN:
        if sync_client._link == LINK_DOWN:
            waiter.end(None)
    elif waiter.key == WAIT_LINK_UP:
        if sync_client.is_connected:
            waiter.end(None)
        elif sync_client._link == LINK_DOWN and sync_client.error:
            sync_client._should_connect = False
            waiter.end(None, sync_client.error)


def end_waiters(client):
    """End all waits, because the client is disconnected."""
    for waiter in client._waiters:
        waiter.end(None, None if waiter.key == WAIT_LINK_DOWN else OSError(ENOTCONN, "disconnected"))
