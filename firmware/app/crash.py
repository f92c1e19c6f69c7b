"""Crash log and safe mode: saves the traceback of the last crash and counts failed starts.

`crash.txt` contains the last traceback until the broker has acknowledged it. `start_count` contains one
character for each start since the last successful one.
"""

import io
import os
import sys

from micropython import const

_LOG = "crash.txt"
_START_COUNT = "start_count"
_MAX_LOG = const(1500)  # bytes, maximum length of a saved traceback
_MAX_FAILED_STARTS = const(3)  # failed starts in a row before safe mode


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
    """Save the traceback of an exception. Does nothing if flash fails."""
    try:
        with open(_LOG, "wb") as file:
            sys.print_exception(error, _Truncated(file))
    except OSError:
        pass


def load():
    """Return the traceback of the last crash as bytes, None if there is none."""
    try:
        with open(_LOG, "rb") as file:
            return file.read(_MAX_LOG)
    except OSError:
        return None


def delete_log():
    """Delete the saved traceback, after the broker has acknowledged it."""
    _remove(_LOG)


def count_start():
    """Count this start; returns True if there were too many failed starts and the device must use safe mode.

    Raises OSError if flash fails.
    """
    try:
        with open(_START_COUNT) as file:
            before = len(file.read(10))
    except OSError:
        before = 0
    with open(_START_COUNT, "w") as file:
        file.write("." * min(before + 1, 9))
    return before >= _MAX_FAILED_STARTS


def clear_start_count():
    """Reset the count of failed starts, because this start was successful."""
    _remove(_START_COUNT)


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
