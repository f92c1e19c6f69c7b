"""Timestamps: the Unix time, if the clock of the board is set."""

from time import gmtime, time

from micropython import const

_EPOCH = 946684800 if gmtime(0)[0] == 2000 else 0  # Unix time at MicroPython's epoch, 1970 or 2000
_MIN_TIME = const(1767225600)  # 2026-01-01; an earlier time means that the clock is not set


def unix_time():
    """Return the time in seconds since 1970, 0 if the clock is not set."""
    now = int(time()) + _EPOCH
    return now if now >= _MIN_TIME else 0
