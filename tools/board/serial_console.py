"""The board's console: its lines as they come, its restart."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

import serial
from rich.console import Console

from tools.errors import UserError

_BAUD = 115200
_AGAIN = 0.5  # s: a board that is still starting does not hear Ctrl-C
_CONNECTED = b": connected to "


class SerialConsole:
    """A serial port with MicroPython behind it. Raises UserError."""

    def __init__(self, port: str) -> None:
        self._port = port
        try:
            self._serial = serial.Serial(port, _BAUD, timeout=0.1, exclusive=True)
        except (OSError, ValueError) as error:
            if "lock" in str(error) or "busy" in str(error):
                raise UserError(f"{port}: another program has it: close it and do it again") from error
            raise UserError(f"{port}: can't be opened: `make doctor` tells more") from error

    def __enter__(self) -> SerialConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serial.close()

    def soft_reset(self) -> None:
        """Soft reset: stop what runs, then boot.py and main.py begin anew."""
        self._guarded(lambda: self._serial.write(b"\r\x03\x03\x02"))
        self.read_until(b">>> ", 5)
        self._guarded(lambda: self._serial.write(b"\x04"))
        self.read_until(b"soft reboot\r\n", 5)

    def wait_for_prompt(self, seconds: float) -> bool:
        """Whether MicroPython is there: what runs is stopped, and its prompt comes."""
        data = b""
        ends = time.monotonic() + seconds
        asked = -1.0
        while b">>> " not in data:
            now = time.monotonic()
            if now > ends:
                return False
            if now - asked > _AGAIN:
                asked = now
                self._guarded(lambda: self._serial.write(b"\r\x03\x03\x02"))
            data += self.read()
        return True

    def read_until(self, ending: bytes, seconds: float) -> bytes:
        """Read until this has come. Raises UserError where it does not within `seconds`."""
        data = b""
        ends = time.monotonic() + seconds
        while ending not in data:
            if time.monotonic() > ends:
                raise UserError(f"{self._port}: MicroPython does not answer: press the board's reset button")
            data += self.read()
        return data

    def read(self) -> bytes:
        """What has come, b"" where nothing has for 0.1 s."""
        found: bytes = b""

        def take() -> None:
            nonlocal found
            found = self._serial.read(self._serial.in_waiting or 1)

        self._guarded(take)
        return found

    def copy_output(self, out: TextIO, seconds: float | None = None, until: bytes | None = None) -> bytes:
        """Write what comes to `out`, for so long, until something has come, or until Ctrl-C."""
        data = b""
        ends = time.monotonic() + (seconds or 1e9)
        while time.monotonic() < ends and not (until and until in data):
            new = self.read()
            data = (data + new)[-65536:]
            out.write(new.decode(errors="replace").replace("\r\n", "\n"))
            out.flush()
        return data

    def _guarded(self, action: object) -> None:
        try:
            action()  # type: ignore[operator]
        except (OSError, serial.SerialException) as error:
            raise UserError(f"{self._port}: the board is gone: plug it in and do it again") from error


def show_startup(port: str, console: Console, seconds: float = 20) -> None:
    """Restart the device, and show what it says until it is connected. Raises UserError."""
    with SerialConsole(port) as serial:
        serial.soft_reset()
        said = serial.copy_output(sys.stdout, seconds, until=_CONNECTED)
        if _CONNECTED in said:
            serial.copy_output(sys.stdout, 0.3)
        else:
            console.print(
                "it has no link yet: `make logs` shows more, `make provision` changes its config",
                style="yellow",
                highlight=False,
            )
