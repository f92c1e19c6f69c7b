"""Runs a program of the user in the 64-bit VM, with the terminal of the command."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tools.vm.process import find_executable

_HEAP = "2m"  # as much as MicroPython's unix port has by default
_GRACE = 5.0  # seconds in which a program ends after Ctrl-C
INTERRUPTED = 130


def run_program(file: Path, library: Path, heap: str = _HEAP) -> int:
    """Run a program until it ends, with the modules in `library` and in the folder of the program.

    Returns its exit code: 1 after an exception, whose traceback it prints; 130 after Ctrl-C.
    Raises VmNotFound.
    """
    path = os.pathsep.join([str(file.resolve().parent), str(library), ".frozen"])
    child = subprocess.Popen(
        [find_executable(), "-X", f"heapsize={heap}", str(file)],
        env={**os.environ, "MICROPYPATH": path},
        # its own session: Ctrl-C reaches this command only, which passes it on once
        start_new_session=True,
    )
    try:
        with _exit_on_signals():
            return _wait(child)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def _wait(child: subprocess.Popen[bytes]) -> int:
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(
            KeyboardInterrupt, subprocess.TimeoutExpired
        ):  # a second Ctrl-C ends it at once
            child.wait(_GRACE)
        return INTERRUPTED
    return 128 - code if code < 0 else code  # ended by a signal: as a shell reports it


@contextlib.contextmanager
def _exit_on_signals() -> Iterator[None]:
    """End the program, too, if this command is terminated or its terminal is closed."""

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
