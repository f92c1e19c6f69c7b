"""Timestamps: the Unix time, if the clock of the board is set."""

from time import gmtime, time

from micropython import const

_EPOCH = 946684800 if gmtime(0)[0] == 2000 else 0  # Unix time of the epoch of this port
_MIN_TIME = const(1767225600)  # 2026-01-01; an earlier time means that the clock was never set


def unix_time():
    """Return the seconds since 1970 UTC, 0 if the clock was never set."""
    now = int(time()) + _EPOCH
    return now if now >= _MIN_TIME else 0
