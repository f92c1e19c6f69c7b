"""The serial console of a board: reads its output, waits for the MicroPython prompt, restarts the program."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

import serial

from tools.console import Console, echo
from tools.deadlines import CONNECTION, OPEN, PROMPT, RESET, WRITE, DeadlineError
from tools.errors import UserError

_BAUD = 115200
_OPEN_RETRY = 0.2  # seconds
_RETRY = 0.5  # seconds; a board that is starting ignores Ctrl-C
_INTERRUPT = b"\r\x03\x03\x02"  # Ctrl-C twice stops the program, Ctrl-B leaves the raw REPL
_SOFT_RESET = b"\x04"  # Ctrl-D
# an error without a watchdog: tools/board/on_board/feed_watchdog.py explains it
_FEED_WATCHDOG = b'__import__("machine").WDT.__dict__["feed"](None)\r'
_FEED_SECONDS = 1
_PROMPT = b">>> "
_CONNECTED = b": connected to "  # printed by the device application
_MAX_SEARCHED = 4096  # bytes in which `read_until` and `wait_for_prompt` search
_MAX_OUTPUT = 65536  # bytes of output that copy_output() returns


class SerialConsole:
    """Serial port with MicroPython at the other end. Every method raises UserError if the port fails."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._serial = open_port(port)

    def __enter__(self) -> SerialConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serial.close()

    def soft_reset(self) -> None:
        """Stop the program, then restart MicroPython: it runs boot.py and main.py."""
        if not self.wait_for_prompt(PROMPT):
            raise DeadlineError(
                f"{self._port}: no prompt within {PROMPT:g} s while restarting the application. "
                "Press the board's reset button"
            )
        self._write(_SOFT_RESET)
        self.read_until(b"soft reboot\r\n", RESET, "restarting the application")

    def wait_for_prompt(self, seconds: float) -> bool:
        """Stop the program, wait for the prompt, and feed the watchdog if it runs.

        Return False if the prompt does not appear within `seconds`.
        """
        data = b""
        deadline = time.monotonic() + seconds
        sent_at = -1.0
        while _PROMPT not in data:
            now = time.monotonic()
            if now > deadline:
                return False
            if now - sent_at > _RETRY:
                sent_at = now
                self._write(_INTERRUPT)
            data = (data + self.read())[-_MAX_SEARCHED:]
        self._write(_FEED_WATCHDOG)
        with contextlib.suppress(DeadlineError):
            self.read_until(b"\n" + _PROMPT, _FEED_SECONDS, "feeding the watchdog")
        return True

    def read_until(self, ending: bytes, seconds: float, doing: str) -> bytes:
        """Return the output up to and including `ending`, 4 KB at most.

        Raises DeadlineError if it does not appear within `seconds`. `doing` says what was being done.
        """
        data = b""
        deadline = time.monotonic() + seconds
        while ending not in data:
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"{self._port}: no answer within {seconds:g} s while {doing}. "
                    "Press the board's reset button"
                )
            data = (data + self.read())[-_MAX_SEARCHED:]
        return data

    def read(self) -> bytes:
        """Return the received output. Wait up to 0.1 s for it; return b"" if there is none."""
        return self._call(lambda: self._serial.read(self._serial.in_waiting or 1))

    def copy_output(self, out: TextIO, seconds: float | None = None, until: bytes | None = None) -> bytes:
        """Write the output to `out` for `seconds`, until it contains `until`, or until Ctrl-C.

        Returns the last 64 KB of the output.
        """
        data = b""
        deadline = time.monotonic() + (seconds or 1e9)
        while time.monotonic() < deadline and not (until and until in data):
            new = self.read()
            data = (data + new)[-_MAX_OUTPUT:]
            echo(new.decode(errors="replace").replace("\r", ""), out, end="")
        return data

    def _write(self, data: bytes) -> None:
        self._call(lambda: self._serial.write(data))

    def _call(self, function: Callable[[], bytes]) -> bytes:
        try:
            return function()
        except serial.SerialTimeoutException as error:
            raise DeadlineError(
                f"{self._port}: the port accepts no data. Unplug the board, plug it in, then try again"
            ) from error
        except (OSError, serial.SerialException) as error:
            raise UserError(f"{self._port}: the board was unplugged. Plug it in, then try again") from error


def open_port(port: str, seconds: float = OPEN) -> serial.Serial:
    """Open a serial port. Another program may use it for a moment: retry for `seconds`. Raises UserError."""
    ends = time.monotonic() + seconds
    while True:
        try:
            return serial.Serial(port, _BAUD, timeout=0.1, write_timeout=WRITE, exclusive=True)
        except (OSError, ValueError) as error:
            is_used = "lock" in str(error) or "busy" in str(error)
            if is_used and time.monotonic() < ends:
                time.sleep(_OPEN_RETRY)
                continue
            if is_used:
                raise UserError(f"{port}: another program uses the port. Close it, then try again") from error
            raise UserError(f"{port}: cannot open the port. To find the cause: make doctor") from error


def show_startup(port: str, console: Console, seconds: float = CONNECTION) -> None:
    """Restart the device, and print its output until it is connected to its broker. Raises UserError."""
    with SerialConsole(port) as serial_console:
        serial_console.soft_reset()
        output = serial_console.copy_output(sys.stdout, seconds, until=_CONNECTED)
        if _CONNECTED in output:
            serial_console.copy_output(sys.stdout, 0.3)  # the rest of the line
        else:
            console.print(
                f"{port}: not connected to the broker after {seconds:g} s. To see more output: make logs. "
                "To change the config: make provision",
                style="yellow",
                highlight=False,
            )
