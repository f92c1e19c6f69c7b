"""Exchanges with a board through a serial port: each has a deadline that holds whatever the port does.

mpremote and esptool limit the pause between two bytes, or nothing at all. So a port that sends without end,
one byte per second, or nothing after the first bytes stops them. `guard_port` adds the deadline where every
one of their loops passes: in the methods of the serial port.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import serial

from tools.deadlines import WRITE, DeadlineError

_SLICE = 0.1  # seconds; a read returns after this time at the latest, to check the deadline


class Exchanges:
    """The exchanges that are running, the inner ones last, and their deadlines.

    `total` in seconds limits all of them together. `clock` returns seconds.
    """

    def __init__(self, total: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.failure: DeadlineError | None = None  # the first deadline that has passed
        self._failed_doing = ""
        self._total = total
        self._ends = clock() + total
        self._running: list[list[Any]] = []  # description, seconds, end, bytes received

    @contextlib.contextmanager
    def exchange(self, doing: str = "", seconds: float = math.inf) -> Iterator[None]:
        """Limit the exchanges in the `with` statement. `doing` says in an error what was being done."""
        self._running.append([doing, seconds, self.clock() + seconds, 0])
        try:
            yield
        except BaseException:
            self._failed_doing = self._failed_doing or self.doing
            raise
        finally:
            self._running.pop()

    @property
    def doing(self) -> str:
        """What is being done or has failed, as the outermost and the innermost exchange describe it."""
        if self._failed_doing:
            return self._failed_doing
        words = [entry[0] for entry in self._running if entry[0]] or ["waiting for the board"]
        return words[0] if len(words) == 1 else f"{words[0]} ({words[-1]})"

    def count(self, size: int) -> None:
        """Count received bytes."""
        for entry in self._running:
            entry[3] += size

    def check(self) -> None:
        """Raise DeadlineError if a deadline has passed. After the first time, every check fails."""
        if self.failure:
            raise self.failure
        now = self.clock()
        for _, seconds, ends, received in self._running:
            if now > ends:
                self._fail(seconds, received)
        if now > self._ends:
            self._fail(self._total, sum(entry[3] for entry in self._running[:1]))

    def retry(self) -> None:
        """Forget the deadline that has passed, unless it is the one of all exchanges."""
        if self.clock() <= self._ends:
            self.failure = None
            self._failed_doing = ""

    def fail(self, text: str) -> NoReturn:
        """Raise DeadlineError with this text, now and in every later check."""
        self.failure = DeadlineError(text)
        raise self.failure

    def _fail(self, seconds: float, received: int) -> NoReturn:
        if received:
            text = f"not finished within {seconds:g} s, although the port sends data, while {self.doing}. "
            self.fail(
                text + "Check that a board with MicroPython is at this port, then press its reset button"
            )
        text = f"no answer within {seconds:g} s while {self.doing}. "
        self.fail(text + "Press the board's reset button, then try again")


def guard_port(port: Any, exchanges: Exchanges, is_patient: bool = False) -> None:
    """Let each use of an open serial port check the deadlines of `exchanges`.

    With `is_patient`, `read` waits for all bytes that it is asked for; otherwise it obeys `port.timeout`.
    """
    kind: Any = type(port)

    class GuardedPort(kind):  # type: ignore[misc]
        def read(self, size: int = 1) -> bytes:
            data = b""
            while True:
                exchanges.check()
                new = bytes(kind.read(self, size - len(data)))
                exchanges.count(len(new))
                data += new
                if not is_patient or len(data) >= size:
                    return data

        def write(self, data: bytes) -> int | None:
            exchanges.check()
            try:
                return kind.write(self, data)  # type: ignore[no-any-return]
            except serial.SerialTimeoutException:
                text = f"the port accepts no data while {exchanges.doing}. "
                exchanges.fail(text + "Unplug the board, plug it in, then try again")

        @property
        def in_waiting(self) -> int:
            exchanges.check()
            return int(kind.in_waiting.fget(self))

        def inWaiting(self) -> int:  # noqa: N802  the name in old versions of pyserial, which mpremote uses
            return self.in_waiting

    with contextlib.suppress(NotImplementedError):  # RFC2217 has no write timeout
        port.write_timeout = WRITE
    if is_patient:
        port.timeout = _SLICE
    port.__class__ = GuardedPort
