"""Runs mpremote as a subprocess, and turns its errors into one line with a remedy."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

from tools.errors import UserError

_DISCONNECTED = "the board was unplugged or restarted. Plug it in, then try again"
_NO_SPACE = "the file system of the board is full. To see its files: make ls. To erase them: make erase"
# text in the output of mpremote or of the board: the message and remedy to print
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
    ("No space left", _NO_SPACE),
    ("ENOSPC", _NO_SPACE),
    ("MemoryError", "the board ran out of memory. Press its reset button, then try again"),
)


def run(
    port: str,
    *arguments: str,
    on_line: Callable[[str], None] | None = None,
    timeout: float = 300,
) -> str:
    """Run `mpremote connect PORT ...` and return its output. `on_line` receives each line immediately.

    `timeout` in seconds limits the whole run. Raises UserError if mpremote fails.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "mpremote", "connect", port, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    output = []
    assert process.stdout
    timer = threading.Timer(timeout, process.kill)  # ends the loop below if the board stops answering
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
    text = "".join(output)
    if code < 0:
        raise UserError(
            f"{port}: no answer within {timeout:g} s. Press the board's reset button, then try again"
        )
    if code:
        raise UserError(f"{port}: {_explain(text)}")
    return text


def _explain(output: str) -> str:
    for pattern, remedy in _REMEDIES:
        if pattern in output:
            return remedy
    lines = [line for line in output.splitlines() if line.strip()]
    return f"mpremote failed: {lines[-1] if lines else 'it printed nothing'}"


def run_interactive(port: str, *arguments: str) -> int:
    """Run `mpremote connect PORT ...` in the terminal of the user. Return its exit code."""
    return subprocess.call([sys.executable, "-m", "mpremote", "connect", port, *arguments])
