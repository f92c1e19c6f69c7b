"""Deadlines: the maximum duration of each command, and of each exchange with a board.

The tables below are the only place where these times are defined; docs/deadlines.md repeats them. A command
without a deadline runs until Ctrl-C, or waits for the user; the exchanges in it have their deadlines, too.
The environment variable UMQTT5_DEADLINE_SCALE multiplies all of them, for example for an emulated board.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tools.errors import UserError

Result = TypeVar("Result")


def _scale() -> float:
    """Return the factor in UMQTT5_DEADLINE_SCALE, for very slow links; 1 if there is none."""
    try:
        scale = float(os.environ.get("UMQTT5_DEADLINE_SCALE", "1"))
    except ValueError:
        return 1
    return scale if 0 < scale < math.inf else 1


SCALE = _scale()
# seconds for each exchange with a board
OPEN = 5 * SCALE  # another program may use the port for a moment
FIRST_PROMPT = 3 * SCALE  # if the board may have no MicroPython
PROMPT = 10 * SCALE  # the program may ignore Ctrl-C while it starts
WRITE = 5 * SCALE
EXECUTE = 10 * SCALE  # a statement on the board, such as the write of a chunk of 256 bytes
LONG_EXECUTE = 90 * SCALE
COPY = 120 * SCALE
RESET = 5 * SCALE
CONNECTION = 20 * SCALE
IDENTIFY = 30 * SCALE
READ_CONFIG = 30 * SCALE
WRITE_CONFIG = 120 * SCALE
LIST = 50 * SCALE
COMPARE = 110 * SCALE
REMOVE_ALL = 200 * SCALE
COPY_ALL = 400 * SCALE
START = 60 * SCALE  # the first start of MicroPython formats its file system
DRIVE = 60 * SCALE
DRIVE_COPY = 120 * SCALE
BOOTLOADER_REQUEST = 20 * SCALE
BOOTLOADER = 45 * SCALE
STUB = 30 * SCALE
FLASH_ERASE = 180 * SCALE
FLASH_WRITE = 600 * SCALE

# description: seconds
EXCHANGES = {
    "open the serial port": OPEN,
    "stop the program and wait for the prompt": PROMPT,
    "wait for the prompt of a board that may have no MicroPython": FIRST_PROMPT,
    "wait until the port accepts data": WRITE,
    "execute a statement, copy a chunk of a file": EXECUTE,
    "execute a script that hashes or removes all files": LONG_EXECUTE,
    "copy one file": COPY,
    "identify the board": IDENTIFY,
    "read the config or one certificate": READ_CONFIG,
    "write the config and its certificates": WRITE_CONFIG,
    "list the files": LIST,
    "compare the files": COMPARE,
    "remove all files": REMOVE_ALL,
    "copy all changed files": COPY_ALL,
    "soft reset": RESET,
    "wait for the first connection of the application": CONNECTION,
    "wait for the first start of MicroPython": START,
    "RP2: start the bootloader": BOOTLOADER_REQUEST,
    "RP2: wait for the drive, and until it accepts the firmware": DRIVE,
    "RP2: copy the firmware to the drive": DRIVE_COPY,
    "ESP32: connect to the bootloader": BOOTLOADER,
    "ESP32: one request to the bootloader": STUB,
    "ESP32: erase the flash": FLASH_ERASE,
    "ESP32: write and verify the firmware": FLASH_WRITE,
}


@dataclass(frozen=True)
class CommandDeadline:
    """Maximum duration of a command."""

    seconds: float | None  # None: until Ctrl-C
    note: str = ""


# only time in which the command works counts, not the time in which it waits for an answer of the user
COMMANDS = {
    "flash": CommandDeadline(1800, "with the download of MicroPython"),
    "deploy": CommandDeadline(600),
    "provision": CommandDeadline(180),
    "erase": CommandDeadline(300),
    "ls": CommandDeadline(60),
    "doctor": CommandDeadline(600, "each check has a deadline of its own"),
    "update": CommandDeadline(3600, "ends if the device sends nothing for --timeout seconds, 120 by default"),
    "run": CommandDeadline(
        None, "a port that disappears ends it, and without a board the end of the program"
    ),
    "repl": CommandDeadline(None, "a port that disappears ends it"),
    "logs": CommandDeadline(None, "a port that disappears, or --seconds, ends it"),
    "monitor": CommandDeadline(None, "--seconds ends it; the first connection has 10 s"),
    "demo": CommandDeadline(None, "--seconds ends it; the first connection has 10 s"),
    "broker": CommandDeadline(None, "--seconds ends it; it starts within 10 s"),
    "fleet": CommandDeadline(None, "waits for the user; each board has the deadline of `flash`"),
}


class DeadlineError(UserError):
    """The deadline of a command or of an exchange has passed."""


class Deadline:
    """The deadline of a command. Time in `paused` does not count. `clock` returns seconds."""

    def __init__(
        self, command: str, seconds: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.command = command
        self.seconds = seconds
        self._clock = clock
        self._started_at = clock()
        self._excluded = 0.0  # seconds
        self._paused_at: float | None = None

    def remaining(self) -> float:
        """Return the seconds until the deadline; infinity if there is none."""
        if self.seconds is None:
            return math.inf
        now = self._clock() if self._paused_at is None else self._paused_at
        return self.seconds - (now - self._started_at - self._excluded)

    def limit(self, seconds: float, doing: str) -> float:
        """Return `seconds`, or less if the command has less time left.

        `doing` says in an error what was being done. Raises DeadlineError if no time is left.
        """
        remaining = self.remaining()
        if remaining <= 0:
            raise DeadlineError(f"{self.describe()}; it was {doing}. Try again")
        return min(seconds, remaining)

    def describe(self) -> str:
        """Return the start of the error message."""
        return f"{self.command}: not finished within its {self.seconds:g} s"

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time in which the user is asked."""
        if self._paused_at is not None:
            yield
            return
        self._paused_at = self._clock()
        try:
            yield
        finally:
            self._excluded += self._clock() - self._paused_at
            self._paused_at = None


_current = Deadline("", None)


def begin(command: str | None) -> Deadline:
    """Start the deadline of a command, and return it. A command that is not in `COMMANDS` has none."""
    global _current
    entry = COMMANDS.get(command or "", CommandDeadline(None))
    _current = Deadline(command or "", entry.seconds and entry.seconds * SCALE)
    return _current


def current() -> Deadline:
    """Return the deadline of the running command."""
    return _current


def watch(grace: float = 10) -> None:
    """End the process `grace` seconds after the deadline, if something hangs that checks no deadline."""

    def run() -> None:
        while True:
            left = _current.remaining() + grace
            if left <= 0:
                text = f"{_current.describe()}, and hangs. Unplug the board, plug it in, then try again"
                print(text, file=sys.stderr, flush=True)
                os._exit(1)
            time.sleep(min(left, 1))

    threading.Thread(target=run, daemon=True).start()


def call_within(seconds: float, function: Callable[[], Result], failure: str) -> Result:
    """Call a function that may hang, such as a write to a drive, and return its result.

    Raises DeadlineError with the text `failure` after `seconds`, or what the function raises.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(current().limit(seconds, failure))
    if errors:
        raise errors[0]
    if not results:
        raise DeadlineError(failure)
    return results[0]
