"""Runs a command in a pseudo-terminal, and collects what it writes to the terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_MAX_MEMORY = 4 << 30  # bytes of address space
_MAX_OUTPUT = 4 << 20  # bytes that are kept
_CTRL_C = b"\x03"
_GRACE = 20.0  # seconds to end after Ctrl-C


@dataclass(frozen=True)
class Run:
    """What a command did. `code` is None if it had to be killed."""

    code: int | None
    output: bytes
    seconds: float


def run_in_terminal(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    deadline: float,
    interrupt_after: float | None = None,
    keys: Sequence[tuple[float, bytes]] = (),
    stdin_is_terminal: bool = True,
) -> Run:
    """Run a command in a terminal of 80 columns until it ends, at most `deadline` seconds.

    `keys` are pressed at their times in seconds, Ctrl-C after `interrupt_after`. The command then has 20 s to
    end. Whatever the command has started is killed at the end.
    """
    terminal, other_end = os.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=other_end if stdin_is_terminal else subprocess.DEVNULL,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
        preexec_fn=_enter_terminal,
    )
    os.close(other_end)
    pending = sorted([*keys, *([(interrupt_after, _CTRL_C)] if interrupt_after is not None else [])])
    if interrupt_after is not None:
        deadline = min(deadline, interrupt_after + _GRACE)
    output = bytearray()
    try:
        while process.poll() is None and time.monotonic() - started < deadline:
            _read(terminal, output, 0.05)
            while pending and time.monotonic() - started >= pending[0][0]:
                _press(terminal, process, pending.pop(0)[1])
        code = process.poll()
        seconds = time.monotonic() - started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    while _read(terminal, output, 0.1):
        pass
    os.close(terminal)
    return Run(code, bytes(output), seconds)


def _enter_terminal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a process in the background of a shell ignores it
    fcntl.ioctl(1, termios.TIOCSCTTY, 0)
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))


def _press(terminal: int, process: subprocess.Popen[bytes], keys: bytes) -> None:
    if keys == _CTRL_C and not termios.tcgetattr(terminal)[3] & termios.ISIG:
        # the command reads single keys, and may take Ctrl-C for something else
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.write(terminal, keys)


def _read(terminal: int, output: bytearray, wait: float) -> bool:
    """Append what the command writes within `wait` seconds. Return False if it wrote nothing."""
    if not select.select([terminal], [], [], wait)[0]:
        return False
    try:
        data = os.read(terminal, 65536)
    except OSError:  # every process has closed its end
        time.sleep(wait)
        return False
    if len(output) < _MAX_OUTPUT:
        output += data
    return bool(data)
