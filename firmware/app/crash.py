"""Crash bookkeeping: the saved traceback, and the number of crashes, which leads to safe mode.

`crash.txt` contains the last traceback until the broker has acknowledged it. `crash_count` contains one line:

    <crashes since the last stable run> <mark> <cause of the last crash>

The mark is `+` if the next reset must not be counted, because it is planned or its crash has been counted
already. Otherwise it is `-`. A crash is an exception that ended the program, or a reset by the watchdog. A
power cut is not a crash. If flash fails, crashes are not counted. These functions do not raise exceptions.
"""

import io
import os
import sys

from micropython import const

# loaded at the start: while flash fails, a module may not be readable (on FAT, reads then fail, too)
from .flash_error import report as _report

_LOG = "crash.txt"
_COUNT = "crash_count"
_MAX_LOG = const(1500)  # bytes, maximum length of a saved traceback
_MAX_CAUSE = const(80)  # bytes, maximum length of the cause in `crash_count`
_MAX_CRASHES = const(3)  # crashes without a stable run between them, after which the device uses safe mode

is_reset_expected = False  # whether the next reset is planned, or its crash has been counted


class _Truncated(io.IOBase):
    """A stream that writes the first `_MAX_LOG` bytes to a file and drops the rest."""

    def __init__(self, file):
        self._file = file
        self._room = _MAX_LOG

    def write(self, data):
        self._file.write(data[: self._room])
        self._room = max(0, self._room - len(data))
        return len(data)


def save(error):
    """Save the traceback of an exception."""
    try:
        with open(_LOG, "wb") as file:
            sys.print_exception(error, _Truncated(file))
    except (OSError, MemoryError) as another:
        _report(_LOG, another, "the traceback is lost")


def delete_log():
    """Delete the saved traceback, after the broker has acknowledged it."""
    _remove(_LOG)


def count(error):
    """Count an exception that ends the program."""
    crashes, _, _ = _read()
    text = "%s: %s" % (type(error).__name__, error)
    _write(_add_crash(crashes), text)


def expect_reset():
    """Record that the next reset is planned, so that it is not counted as a crash."""
    if not is_reset_expected:
        crashes, _, cause = _read()
        _write(crashes, cause)


def begin_start(reset_cause):
    """Count the reset that caused this start if it was a crash.

    `reset_cause` is what `reset_cause()` of the board's `pins` returns. Returns the reason as a str if the
    device has to use safe mode, otherwise None.
    """
    global is_reset_expected
    crashes, is_expected, cause = _read()
    is_crash = reset_cause == "watchdog" and not is_expected
    if is_crash:
        crashes, cause = _add_crash(crashes), "watchdog reset"
    if is_crash or is_expected or crashes >= _MAX_CRASHES:
        is_stored = _write(crashes, cause, b"-")
        is_reset_expected = False
        if not is_stored:  # the device could not leave safe mode
            return None
    return "%d crashes, the last one: %s" % (crashes, cause) if crashes >= _MAX_CRASHES else None


def clear_count():
    """Set the number of crashes to 0, because this run is stable."""
    _remove(_COUNT)


def leave_safe_mode():
    """Make the next start a normal one; after one more crash the device uses safe mode again."""
    _, _, cause = _read()
    _write(_MAX_CRASHES - 1, cause)


def _add_crash(crashes):
    # safe mode does not prevent a crash that happens in safe mode: then the next start is a normal one
    return crashes + 1 if crashes < _MAX_CRASHES else _MAX_CRASHES - 1


def _read():
    """Return (crashes, whether the next reset is not counted, cause of the last crash)."""
    try:
        with open(_COUNT, "rb") as file:
            line = file.read(4 + _MAX_CAUSE)
        crashes = int(line[:1])
        cause = "".join([chr(c) for c in line[4:] if 32 <= c < 127])
        return min(crashes, _MAX_CRASHES), line[2:3] == b"+", cause
    except (OSError, ValueError, MemoryError):  # no file, or a damaged one
        return 0, False, "unknown"


def _write(crashes, cause, mark=b"+"):
    """Write the line; returns False if flash fails."""
    global is_reset_expected
    is_reset_expected = True
    line = b"%d " % crashes + mark + b" " + cause[:_MAX_CAUSE].encode() + b"\n"
    for _ in range(2):
        try:
            with open(_COUNT, "wb") as file:
                file.write(line)
            return True
        except (OSError, MemoryError) as error:
            _report(_COUNT, error, "crashes are not counted")
            _remove(_LOG)  # makes room if flash is full
    return False


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
