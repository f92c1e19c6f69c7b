"""The time of a reading, where the clock is right."""

from time import gmtime, time

from micropython import const

_UNIX = 946684800 if gmtime(0)[0] == 2000 else 0  # s from 1970 to where this port counts from
_BEFORE = const(1767225600)  # 2026: a clock that says less was never set


def seconds():
    """Seconds since 1970, UTC; 0 where the clock was never set."""
    now = int(time()) + _UNIX
    return now if now >= _BEFORE else 0


def stamped(properties, now):
    """Properties of a PUBLISH with the user property `time`, `now` in seconds; 0 adds nothing."""
    return properties + b"\x26\x00\x04time\x00\x0a%010d" % now if now else properties
