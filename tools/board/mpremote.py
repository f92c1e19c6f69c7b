"""Runs mpremote as a subprocess, and turns its errors into one line with a remedy."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable

from tools import deadlines
from tools.board.mpremote_process import ERROR
from tools.deadlines import EXECUTE
from tools.errors import UserError
from tools.paths import ROOT
from tools.terminal_filter import copy_filtered

_MPREMOTE = (sys.executable, "-m", "tools.board.mpremote_process")
_GRACE = 5  # seconds after the deadline of the process until it is killed
_INTERRUPT_TIMEOUT = 5  # seconds in which mpremote stops the program on the board
_DISCONNECTED = "the board was unplugged or restarted. Plug it in, then try again"
_NO_SPACE = "the file system of the board is full. To see its files: make ls. To erase them: make erase"
# text in the output of mpremote or of the board: the message and remedy to print
_BOARD_ERRORS = (
    ("No space left", _NO_SPACE),
    ("ENOSPC", _NO_SPACE),
    ("MemoryError", "the board ran out of memory. Press its reset button, then try again"),
)
_REMEDIES = (
    (
        "failed to access",
        "another program uses the port: close it. Or the board is unplugged: plug it in. Then try again",
    ),
    (
        "no device found",
        "no board found. Plug it in with a USB cable that carries data. More help: make doctor",
    ),
    (
        "could not enter raw repl",
        "MicroPython does not answer. Press the board's reset button, or run make flash",
    ),
    ("disconnected", _DISCONNECTED),
    ("Input/output error", _DISCONNECTED),
    ("device reports readiness", _DISCONNECTED),
    ("SerialException", _DISCONNECTED),
    *_BOARD_ERRORS,
)


def run(
    port: str,
    *arguments: str,
    on_line: Callable[[str], None] | None = None,
    timeout: float = 300,
    execute: float = EXECUTE,
    doing: str = "",
) -> str:
    """Run `mpremote connect PORT ...` and return its output. `on_line` receives each line immediately.

    `timeout` in seconds limits the whole run, `execute` each statement on the board. `doing` says in an error
    what was being done. Raises UserError if mpremote fails, or if a deadline passes.
    """
    total = deadlines.current().limit(timeout, doing or "talking to the board")
    limits = (f"--total={total}", f"--execute={min(execute, total)}", f"--doing={doing}")
    process = subprocess.Popen(
        [*_MPREMOTE, *limits, "connect", port, *arguments],
        stdin=subprocess.PIPE,  # the process ends when it is closed
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=dict(_environment(), PYTHONIOENCODING="utf-8:replace"),
        errors="replace",
    )
    output = []
    assert process.stdout and process.stdin
    timer = threading.Timer(total + _GRACE, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            output.append(line)
            if on_line:
                on_line(line.rstrip())
        code = process.wait()
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdin.close()
    text = "".join(output)
    if code < 0:
        raise UserError(
            f"{port}: no answer within {total:g} s. Press the board's reset button, then try again"
        )
    if code:
        raise UserError(f"{port}: {_explain(text)}")
    return text


def _explain(output: str) -> str:
    for line in output.splitlines():
        if line.startswith(ERROR) and "unplugged" not in line:
            text = line.removeprefix(ERROR)
            return next((remedy for pattern, remedy in _BOARD_ERRORS if pattern in text), text)
    for pattern, remedy in _REMEDIES:
        if pattern in output:
            return remedy
    lines = [line for line in output.splitlines() if line.strip()]
    return f"mpremote failed: {lines[-1] if lines else 'it printed nothing'}"


def _environment() -> dict[str, str]:
    """Return the environment of the process: it imports `tools` from any working folder."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)))


def run_interactive(port: str, *arguments: str) -> int:
    """Run `mpremote connect PORT ...` in the terminal of the user. Return 0 if it has succeeded, otherwise 1.

    The output of the board is filtered: it cannot change the title or the clipboard of the terminal.
    """
    process = subprocess.Popen(
        [*_MPREMOTE, "--interactive", "connect", port, *arguments],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    try:
        copy_filtered(process.stdout, sys.stdout)
        return 1 if process.wait() else 0
    except KeyboardInterrupt:  # mpremote has received Ctrl-C, too
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_INTERRUPT_TIMEOUT)
        raise
    finally:
        process.kill()
        process.wait()
