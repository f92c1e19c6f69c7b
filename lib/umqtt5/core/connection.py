"""Connection of a client: open the stream, read, write, poll, close, reconnect with exponential back-off.

The functions take a `client.Client`. They do not handle packets: `session` parses and builds them.
"""

import sys
from errno import ECONNABORTED, ECONNRESET, ETIMEDOUT
from random import getrandbits

from micropython import const

from .callbacks import check_result
from .errors import explain
from .states import CLOSING, CONNECTED, LINK_DOWN, LINK_OPENING, LINK_UP, TICKS_MASK

if sys.implementation.name == "cpython":
    from ..cpython.compat import poll, sleep_ms, ticks_ms
else:
    from select import poll  # type: ignore[assignment]
    from time import sleep_ms, ticks_ms  # type: ignore[attr-defined,no-redef]

_ADD_ADDRESS = const(0)  # see `errors.explain`

_POLLIN = const(1)  # as in `select`
_POLLOUT = const(4)

# The delay before a reconnect is random (jitter), from a third of a bound to the bound. The bound starts at
# this value and doubles with each failure, up to `max_reconnect_delay`. After a restart of the broker, the
# busiest second has up to four times the average number of reconnects. With delays from 0 to the bound, it
# would have up to nine times the average.
_FIRST_DELAY = const(1000)  # ms
# Only a connection that lasts this long resets the bound. Otherwise the client would reconnect without a
# pause to a broker that accepts connections and drops them.
_STABLE = const(30000)  # ms
# After a permanent error, which retrying cannot fix, the delay is 10 to 18 minutes.
_PERMANENT_ERROR_DELAY = const(600000)  # ms
# While bytes arrive, timeouts are not checked more often than this.
_TICK_INTERVAL = const(20)  # ms
_MAX_TICK_DUE = const(3600000)  # ms; ticks wrap around, so timeouts are checked at least this often
_MAX_SLEEP = const(1000)  # ms without a connection
_MAX_LINGER = const(1000)  # ms to wait for the broker to close the connection


class _EndLink:
    """Context manager: an error ends the connection. OSError is caught, other exceptions are not.

    After another exception, for example KeyboardInterrupt, a packet may be written twice, or not processed
    completely. A new connection resumes the session. If the exception is from a handler, the connection stays
    for a `disconnect`: see `Session.was_interrupted`.
    """

    def __init__(self, client):
        self._client = client

    def __enter__(self):
        pass

    def __exit__(self, kind, error, _):
        if not kind:
            return False
        kind = isinstance(error, OSError)
        if kind or not self._client.session.was_interrupted:
            self._client._on_link_lost(error)
        return kind


def init_connection(client):
    """Set the connection attributes of a client; returns the function `ticks_ms`."""
    client.stream = None  # stream from the transport, None without a connection
    client._catch_errors = _EndLink(client)
    client._poller = poll()
    client._pollable = client._do_handshake = None  # object to poll, handshake method or None
    client._lookup = None  # the `dns.Lookup` that takes the place of the stream until it has ended
    client._watched_events = client._handshake_events = 0
    client._link = LINK_DOWN
    client._link_since = 0  # ticks when the last try began, CONNACK arrived, or the connection ended
    client._was_connected = False  # whether CONNACK was received on this stream
    client._should_connect = False
    client._is_polling = False  # whether a round is running: handlers must not start another
    client._idle = client._idle_since = 0  # the next round is due `_idle` ms after the ticks `_idle_since`
    client._ticked_at = 0  # ticks of the last `Session.tick`
    client._tick_due = 0  # ms from then until the next one is due, 0 if it is due in the next round
    client._ticked_bytes = 0  # `Session.bytes_sent` at that time
    client._reconnect_delay = 0  # ms from `_link_since` to the next try
    client._failures = 0  # number of doublings of the delay's bound
    client.connection_count = 0
    client.max_reconnect_delay = 60000  # ms
    client.error = None  # exception that ended the last connection
    client.has_permanent_error = False  # retrying cannot fix `error`, for example a wrong password
    return ticks_ms


def poll_once(client):
    """Run one round of work; returns the ms until the next round is due, 0 if there is more to do."""
    if client._is_polling or client.session.is_busy:
        return 0
    client._is_polling = client.session.is_busy = True
    client._idle = 0
    try:
        _run_round(client)
    finally:
        client._is_polling = client.session.is_busy = False
    return client._idle


def _run_round(client):
    with client._catch_errors:
        if client._link == LINK_UP:
            _exchange(client, client.session)
        else:
            _open(client, ticks_ms())
    if client._poll_hooks:
        _run_poll_hooks(client)
    if client.session.close_request:
        _close(client, client.session)


def _close(client, session):
    """Carry out the `disconnect` of a handler, after the message that it has handled was acknowledged."""
    with client._catch_errors:
        session.close(*session.close_request)
        _flush(client)  # only what the stream accepts now
    session.close_request = None
    if client._link != LINK_DOWN:
        client._on_link_lost(None)


def _run_poll_hooks(client):
    for hook in client._poll_hooks:
        client._idle = min(client._idle, hook(ticks_ms()))


def _open(client, now):
    """Begin to open the stream when the reconnect delay is over, or continue to open it."""
    client._idle_since = now
    left = client.timeout - ((now - client._link_since) & TICKS_MASK)
    if client._link == LINK_OPENING:
        if client.stream is client._lookup:
            client._idle = client._lookup.step(now)
            if client._lookup.address:  # the transport will find it
                client._poller.unregister(client._pollable)
                client.stream = client._lookup = None
                _call_transport(client, now)
            return
        for _ in client._poller.ipoll(0):
            client._handshake_events = client._do_handshake() if client._do_handshake else 0
            if not client._handshake_events:
                client.session.open(now)
                client._link = LINK_UP
                _flush(client)
                return
        client._idle = left
        if left <= 0:
            raise OSError(ETIMEDOUT, "no connection")
        return
    left += client._reconnect_delay - client.timeout
    client._idle = max(0, left) if client._should_connect else TICKS_MASK
    if not client._idle:
        client._link_since = now
        _call_transport(client, now)


def _call_transport(client, now):
    """Begin to open the stream. If the transport needs a name to be looked up, begin the lookup instead."""
    events = _POLLOUT
    client.session.is_busy = False  # a scheduled function may publish, because the transport may take long
    try:
        stream = client._transport(client.host, client.port)
    except OSError as error:
        if not hasattr(error, "lookup"):
            raise
        stream = client._lookup = error.lookup
        stream.timeout = max(1, client.timeout - ((now - client._link_since) & TICKS_MASK))
        client._idle = stream.step(now)
        events = _POLLIN
    finally:
        client.session.is_busy = True
    client.stream = stream
    client._pollable = stream.pollable if hasattr(stream, "pollable") else stream
    client._do_handshake = stream.do_handshake if hasattr(stream, "do_handshake") else None
    client._poller.register(client._pollable, events)
    client._watched_events = client._handshake_events = events
    client._link = LINK_OPENING


def _exchange(client, session):
    """Read once, write the waiting output, and check the timeouts."""
    n = None
    if session.rx_paused or session.state == CLOSING:
        n = _continue(client, session)
    else:
        n = client.stream.readinto(session.framer.read_buffer, session.framer.max_read)
        if n:
            session.receive_data(n, ticks_ms())
            session.parse()
        elif n == 0:
            raise OSError(ECONNRESET, "closed by the broker")
        elif client._tick_due and _is_at_rest(client, session):
            return
    _flush(client)
    if client._link != LINK_UP:  # a handler has ended the connection
        return
    client._idle_since = ticks_ms()
    if n and client._tick_due and session.state == CONNECTED and not session._has_unreported:
        if (client._idle_since - client._ticked_at) & TICKS_MASK < _TICK_INTERVAL:
            return  # more bytes may follow at once
    _tick(client, session)
    if n:
        client._idle = 0
    if session.state == CLOSING and not session.prepare_write():
        _end_closing(client, session, n)


def _continue(client, session):
    """Handle the rest of what was read, or discard what arrives after the end; returns as `readinto`."""
    if session.state == CLOSING:
        session.framer.reset()
    if session.rx_paused:
        if session.was_interrupted and session.state != CLOSING:
            raise OSError(ECONNABORTED, "a handler was interrupted")
        session.parse()
        # read again soon: on some ports poll ignores bytes that TLS has buffered
        return not session.rx_paused
    return client.stream.readinto(session.framer.read_buffer, session.framer.max_read)


def _is_at_rest(client, session):
    """Return True if there is nothing to write, and nothing has begun that needs a timeout of its own."""
    now = client._tick_due - ((ticks_ms() - client._ticked_at) & TICKS_MASK)
    if (
        now <= 0
        or session._tx_at < session._tx_end
        or session._block_at < session._block_end
        or session.bytes_sent != client._ticked_bytes
        or session.outbox.passed < session.outbox.count
        or session.subscriptions.has_pending
        or session._has_unreported
        or session.stream_source
    ):
        return False
    client._idle_since = (client._ticked_at + client._tick_due - now) & TICKS_MASK
    client._idle = now
    return True


def _tick(client, session):
    client._ticked_at = client._idle_since
    client._idle = session.tick(client._idle_since)
    if client._failures:
        _reset_failures_if_stable(client)
    if session._tx_at < session._tx_end:
        _flush(client)
    client._tick_due = min(client._idle, _MAX_TICK_DUE) if session.state == CONNECTED else 0
    client._ticked_bytes = session.bytes_sent


def _reset_failures_if_stable(client):
    """Reset the back-off while the connection lasts: when it ends, the ticks may have wrapped around."""
    if client._was_connected and (client._idle_since - client._link_since) & TICKS_MASK > _STABLE:
        client._failures = 0


def _end_closing(client, session, n):
    """Close the stream after the last output; `n` is the result of `readinto`.

    If a stream is closed while bytes arrive, TCP resets the connection, and the broker can lose what we have
    written last. After `disconnect`, this is the DISCONNECT: without it the broker would publish the will.
    Therefore the client first reads what has arrived. After Receive Maximum was exceeded, these are the
    acknowledgements of many messages: without them the broker would send the same messages again in each
    connection. Therefore the client waits until the broker has read the DISCONNECT and closed the connection.
    """
    if n and not session.error:
        return
    if n != 0 and session.error and session.error.code == 0x93 and not session.error.from_broker:
        n = _MAX_LINGER - ((client._idle_since - session._last_write) & TICKS_MASK)
        if n > 0:
            client._idle = min(client._idle, n)
            return
    client._on_link_lost(session.error)


def flush(client):
    """Write output now, not at the next poll; an error ends the connection. `session.is_busy` must be set."""
    with client._catch_errors:
        _flush(client)


def _flush(client):
    session = client.session
    while client._link == LINK_UP:
        n = session.prepare_write()
        if n:
            n = client.stream.write(session.write_buffer, session.write_start, n)
        if not n or not session.confirm_write(n, ticks_ms()):
            return


def poll_events(client):
    """Return the events to poll the stream for: 1 to read, 4 to write, as in `select`."""
    if client._link == LINK_OPENING:
        return client._handshake_events
    if client.session.rx_paused:
        return _POLLOUT
    return _POLLIN | _POLLOUT if client.session.has_output() else _POLLIN


def wait_for_stream(client, timeout):
    """Sleep until the stream is ready, for `timeout` ms at most."""
    if not timeout:
        return
    if client._link == LINK_DOWN:
        # a function that `micropython.schedule` calls meanwhile may connect, or end a `connect` that waits
        sleep_ms(min(timeout, _MAX_SLEEP))
        return
    wanted = client.poll_events()
    if wanted != client._watched_events:
        _watch(client, wanted)
    for _ in client._poller.ipoll(timeout):
        pass


def _watch(client, events):
    with client.session:  # a scheduled `disconnect` would unregister the stream
        if client._link != LINK_DOWN:
            client._poller.modify(client._pollable, events)
            client._watched_events = events


def on_connected(client):
    """Record and report that the broker has accepted the connection."""
    client.connection_count += 1
    client._was_connected = True
    client._link_since = ticks_ms()
    client.error = None
    _notify_state(client, True)


def on_link_lost(client, error):
    """Close the stream, choose the reconnect delay, and report `error` (None if the client disconnected).

    The callbacks must not start a round, also if this happens in `publish` or `disconnect`.
    """
    session = client.session
    was_polling = client._is_polling
    was_busy = session.is_busy
    client._is_polling = session.is_busy = True
    try:
        _end_link(client, session, error)
    finally:
        client._is_polling = was_polling
        session.is_busy = was_busy
        session.close_request = None  # a callback has called `disconnect`


def _end_link(client, session, error):
    now = ticks_ms()
    uptime_ms = max(1, (now - client._link_since) & TICKS_MASK) if client._was_connected else 0
    client._was_connected = False
    old = session.error
    if uptime_ms > _STABLE:
        client._failures = 0
    if uptime_ms and (session.error or session.outbox.count):
        try:
            from ..optional.give_up import count_failure

            count_failure(client, error)
        # The connection is lost anyway, and it is not counted against a message: there is no memory, no
        # stack, or no flash from which the module can be loaded.
        except Exception:
            pass
    if client.stream is not None:
        client._poller.unregister(client._pollable)
        client.stream.close()
        client.stream = None
    session.connection_lost()
    phase = 3 if uptime_ms else client._link
    client._link = LINK_DOWN  # before anything that may fail, so that the client is not half closed
    client.error = old or error
    if client.error:
        explain(_ADD_ADDRESS, client, phase)
    client.has_permanent_error = not uptime_ms and getattr(client.error, "is_permanent", False)
    delay = min(client.max_reconnect_delay, _FIRST_DELAY << client._failures)
    delay = (delay + (getrandbits(15) * delay >> 14)) // 3
    if client.has_permanent_error:
        delay = _PERMANENT_ERROR_DELAY + 8 * delay
    client._reconnect_delay = delay
    if client._failures < 16:
        client._failures += 1
    client._idle = 0
    client._link_since = now
    session.error = session.close_request = None
    _notify_state(client, False)
    if client.follow_redirects:
        with session.catch_errors:
            from ..optional.server_reference import redirect

            redirect(client, uptime_ms)
    for hook in client._disconnect_hooks:
        hook(client, uptime_ms)


def _notify_state(client, is_connected):
    if client.on_state:
        with client.session.catch_errors:
            check_result(client.on_state(client, is_connected, client.error))
