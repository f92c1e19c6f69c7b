"""What ended the program, kept over the reset; and whether it ends too often.

Two small files: `crash.txt` has the last traceback until the broker has it, `start_count` a digit for
each start that has not been good for a while.
"""

import io
import os
import sys

from micropython import const

_LOG = "crash.txt"
_STARTS = "start_count"
_LONGEST = const(1500)  # bytes of a traceback that are told
MAX_FAILED_STARTS = 3  # starts in a row that ended soon


class _Bounded(io.IOBase):
    """A stream that keeps the first bytes."""

    def __init__(self, file):
        self._file = file
        self._room = _LONGEST

    def write(self, data):
        self._file.write(data[: self._room])
        self._room = max(0, self._room - len(data))
        return len(data)


def save(error):
    """Keep this error; one that can't be kept is no second crash."""
    try:
        with open(_LOG, "wb") as file:
            sys.print_exception(error, _Bounded(file))
    except OSError:
        pass


def load():
    """The text of the last crash as bytes, None where there was none."""
    try:
        with open(_LOG, "rb") as file:
            return file.read(_LONGEST)
    except OSError:
        return None


def delete_log():
    """The broker has it."""
    _remove(_LOG)


def count_start():
    """Count this start; True where so many before it have ended soon that only safe mode is left."""
    try:
        with open(_STARTS) as file:
            before = len(file.read(10))
    except OSError:
        before = 0
    with open(_STARTS, "w") as file:
        file.write("." * min(before + 1, 9))
    return before >= MAX_FAILED_STARTS


def clear_start_count():
    """It has run for a while: the next crash is the first again."""
    _remove(_STARTS)


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
