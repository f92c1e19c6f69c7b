"""Connect and disconnect the asyncio client, and run it in the current event loop.

The functions take a `client.Client`. The client is *owned* if the program relies on its connection: after
`connect(wait=False)`, and when `connect()` has returned. Until then the connection belongs to the coroutines
that wait in `connect`. If the last one fails or is cancelled, the connection is closed.
"""

import sys
from asyncio import Event

from ..core.states import LINK_DOWN, LINK_UP, TICKS_MASK
from .waiters import WAIT_LINK_DOWN, WAIT_LINK_UP, end_waiters, wait_for

if sys.implementation.name == "cpython":
    from ..cpython.aio_scheduler import Scheduler, current_loop
else:
    from .scheduler import Scheduler, current_loop  # type: ignore[assignment]


def reset_loop(client, loop):
    """Begin with no coroutine: those of an earlier event loop will never continue."""
    client._loop = loop
    client._waiters = []
    client._queues = ([], [], [])  # lists of waiters for room, indexed by QUEUE_QOS_0 etc.
    client._connecting = []  # one entry per coroutine in `connect`
    if client.coroutines:
        client.coroutines.reset()
    for messages in client.iterators:
        messages._event = Event()


def enter_loop(client):
    """Let the client run in the current event loop. Each coroutine calls this function first.

    An earlier loop may have ended while the client was connected. Then the client keeps its connection. The
    client also needs a new scheduler if an exception such as KeyboardInterrupt has ended its last run.
    """
    loop = current_loop()
    if loop is client._loop and (not client._is_running or client.sync_client._is_polling):
        return
    scheduler = client._scheduler
    if scheduler:
        scheduler.stop()
    client._is_running = False
    client._scheduler = None
    if loop is not client._loop:
        reset_loop(client, loop)
    if client._is_owned or client._connecting:
        _start(client)
    elif scheduler:
        stop(client)


def _start(client):
    if not client._scheduler:
        client._scheduler = Scheduler(client._run_once)
        client._scheduler.start()


async def connect(client, wait=True, timeout=None):
    """Connect, and reconnect from now on whenever the connection is lost.

    Returns True if the broker has resumed the session. With `wait=False` it returns False at once and
    connects in the background. Raises OSError or MQTTError if the first try fails, and OSError(ETIMEDOUT)
    after `timeout` ms. After a failed or cancelled first try the client does not try again by itself, unless
    it was connected or connecting in the background before. If several tasks call `connect`, all of them wait
    for the same try. During a `disconnect`, `connect` waits for its end.
    """
    enter_loop(client)
    sync_client = client.sync_client
    start = sync_client._ticks_ms()
    if wait and sync_client._link == LINK_UP and not sync_client._should_connect and client._scheduler:
        await wait_for(client, WAIT_LINK_DOWN, timeout)
    connecting = client._connecting
    is_connected = sync_client.is_connected
    if not is_connected:
        if wait:
            sync_client.error = None
            if not connecting and sync_client._link == LINK_DOWN:
                sync_client._should_connect = False  # so that the next line ends the reconnect delay
        sync_client.connect(wait=False)
    _start(client)
    client.wake()
    if is_connected or not wait:
        client._is_owned = True
        return is_connected and sync_client.session.resumed
    connecting.append(start)
    try:
        if timeout is not None:
            timeout -= (sync_client._ticks_ms() - start) & TICKS_MASK
        await wait_for(client, WAIT_LINK_UP, timeout)
        client._is_owned = True
    finally:
        connecting.pop()
        if connecting is client._connecting and not connecting and not client._is_owned:
            stop(client)
    return sync_client.session.resumed


async def disconnect(client, reason=0, properties=b"", timeout=None):
    """Send DISCONNECT and close the connection; see `umqtt5.Client.disconnect`.

    If the DISCONNECT is not written after `timeout` ms, the connection is closed without it. None means the
    `timeout` of the client. Iterators end after they have returned the messages that have already arrived.
    Other waiting coroutines raise OSError(ENOTCONN). An unacknowledged message stays in the outbox. If the
    call is cancelled, the connection is closed at once.
    """
    enter_loop(client)
    sync_client = client.sync_client
    if reason or properties:
        from ..optional.disconnect import send_disconnect

        send_disconnect(sync_client, reason, properties)
    sync_client._should_connect = client._is_owned = False
    sync_client.session.close(0)
    try:
        for messages in list(client.iterators):
            messages.close()
        if sync_client._link == LINK_UP and client._scheduler:
            await wait_for(client, WAIT_LINK_DOWN, sync_client.timeout if timeout is None else timeout)
    except OSError:
        pass  # the timeout
    finally:
        if not sync_client._should_connect:  # else another task has called `connect` meanwhile
            stop(client)


def stop(client):
    """Close the connection, stop the scheduler and end all waits."""
    sync_client = client.sync_client
    sync_client._should_connect = client._is_owned = False
    try:
        if sync_client.is_connected:
            sync_client.session.close(0)
            with sync_client.session:
                sync_client._flush_now()  # DISCONNECT, so that the broker does not publish the will
        if sync_client._link != LINK_DOWN:
            sync_client._on_link_lost(None)
    finally:
        if client._scheduler:
            client._scheduler.stop()
            client._scheduler = None
        end_waiters(client)


def run_once(client):
    """Run the sync client once, and schedule the next run."""
    sync_client = client.sync_client
    if client._is_running and not sync_client._is_polling:
        enter_loop(client)  # an exception has ended one of the tasks of the scheduler, but not this one
        return
    client._is_running = True
    with client._catch_errors:
        sync_client._poll_once()
    scheduler = client._scheduler
    if scheduler:
        if sync_client.stream is not None:
            scheduler.watch(sync_client._pollable, sync_client.poll_events())
        scheduler.schedule(sync_client.next_timeout())
    client._is_running = False
