"""A serial port without a board that answers: it is silent, sends without end, or disappears."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import termios
import threading
import tty
from pathlib import Path
from types import TracebackType

BEHAVIORS = ("silent", "endless", "slow", "vanishing", "used", "blocked")
_SLOW_INTERVAL = 0.2  # seconds between two bytes
_NOISE = b"\x00\xc0>raw REPL\r\n\x04OK\xff" * 64


class HostilePort:
    """A pseudo-terminal that shows one of `BEHAVIORS` when a program uses it.

    `endless` sends noise as fast as possible, `slow` sends a byte from time to time, `vanishing` disappears
    after the first received bytes, `used` belongs to another program, and `blocked` accepts no data.
    """

    def __init__(self, folder: Path, behavior: str) -> None:
        self._behavior = behavior
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = str(folder / f"{behavior}-port")
        os.symlink(os.ttyname(self._slave), self.port)
        if behavior == "used":
            fcntl.flock(self._slave, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif behavior == "blocked":
            termios.tcflow(self._slave, termios.TCOOFF)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> HostilePort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)
        Path(self.port).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(self._slave)
            os.close(self._master)

    def _run(self) -> None:
        os.set_blocking(self._master, False)
        while not self._stop.wait(_SLOW_INTERVAL if self._behavior == "slow" else 0.01):
            with contextlib.suppress(BlockingIOError):
                if self._behavior == "endless":
                    while not self._stop.is_set():
                        os.write(self._master, _NOISE)
                elif self._behavior == "slow":
                    os.write(self._master, b">")
            if select.select([self._master], [], [], 0)[0] and os.read(self._master, 65536):
                if self._behavior == "vanishing":
                    self.vanish()
                    return

    def send(self, data: bytes) -> None:
        """Send data to the program that uses the port."""
        os.write(self._master, data)

    def vanish(self) -> None:
        """Disappear, like a board that is unplugged."""
        self._stop.set()
        Path(self.port).unlink()
        os.close(self._slave)
        os.close(self._master)
