"""Timeouts and keep-alive of a session: limit the time of each wait, send PINGREQ if idle.

The functions take a `session.Session`. `Session.tick` calls them.
"""

from errno import ETIMEDOUT

from .states import (
    CONNECTED,
    CONNECTING,
    TICKS_MASK,
    WAIT_ACK,
    WAIT_AUTH,
    WAIT_CONNACK,
    WAIT_PING,
    WAIT_SUBACK,
    WAIT_WRITE,
)

# by kind of wait
_MESSAGES = (
    "the broker reads no more bytes",
    "no CONNACK",
    "no PUBACK, PUBREC or PUBCOMP",
    "no PINGRESP",
    "no SUBACK or UNSUBACK",
    "no AUTH",
)


def check_waits(session):
    """Limit the time of all waits. Raises OSError(ETIMEDOUT) if one has lasted too long."""
    session._is_waiting = False
    check_wait(session, WAIT_WRITE, session.has_output())
    check_wait(session, WAIT_CONNACK, session.state == CONNECTING)
    if session.state == CONNECTED:
        check_wait(session, WAIT_ACK, session.pending_acks)
        check_wait(session, WAIT_SUBACK, session.pending_subacks)
        check_wait(session, WAIT_AUTH, session.auth and session.auth.is_due)
        check_wait(session, WAIT_PING, session.ping_pending)


def check_wait(session, kind, is_waiting):
    """Limit the time of a wait. The wait starts when `is_waiting` becomes true, and ends when it is false.

    Shortens the time until the next tick. Raises OSError(ETIMEDOUT) if the wait has lasted too long.
    """
    if not is_waiting:
        session.wait_started[kind] = -1
        return
    session._is_waiting = True
    if session.wait_started[kind] < 0:
        session.wait_started[kind] = session._now & TICKS_MASK
    left = session.timeouts[kind]
    if kind == WAIT_PING and session._ping_interval:
        left = min(left, session._ping_interval * 5 >> 3)
    left -= (session._now - session.wait_started[kind]) & TICKS_MASK
    if left <= 0:
        raise OSError(ETIMEDOUT, _MESSAGES[kind])
    session._timeout = min(session._timeout, left)


def ping_if_idle(session, now):
    """Send PINGREQ if nothing was sent, or nothing was received, for the ping interval (3.1.2.10)."""
    left = (now - session._last_write) & TICKS_MASK
    if not session.ping_pending:
        left = max(left, (now - session._last_read) & TICKS_MASK)
    left = session._ping_interval - left
    if left <= 0:
        session.put(b"\xc0\x00")
        session._last_write = now
        session.ping_pending = True
        check_wait(session, WAIT_PING, True)
        left = 0
    session._timeout = min(session._timeout, left)
