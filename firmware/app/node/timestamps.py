"""Timestamps: the Unix time, if the clock of the board is set."""

from time import gmtime, time

_EPOCH = 946684800 if gmtime(0)[0] == 2000 else 0  # Unix time at MicroPython's epoch, 1970 or 2000
# 2026-01-01, not later than this version was written: a clock that shows an earlier time is not set.
# It is not a `const`, because other files on the board use it.
BUILD_TIME = 1767225600


def unix_time():
    """Return the time in seconds since 1970, 0 if the clock is not set."""
    now = int(time()) + _EPOCH
    return now if now >= BUILD_TIME else 0
