"""The real mpremote, as a program; its failures become a line that says what to do."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

from tools.errors import UserError

_GONE = "the board was pulled out or has restarted: plug it in and do it again"
# what mpremote or the board says: what to do
_REMEDIES = (
    (
        "failed to access",
        "can't be opened: another program has it, or it was pulled out: see to that and do it again",
    ),
    ("no device found", "no board there: plug it in with a data cable; `make doctor` tells more"),
    ("could not enter raw repl", "answers no MicroPython: press its reset button, or `make flash` it"),
    ("disconnected", _GONE),
    ("Input/output error", _GONE),
    ("device reports readiness", _GONE),
    ("SerialException", _GONE),
    ("No space left", "its file system is full: `make ls` shows what is there, `make erase` makes room"),
    ("ENOSPC", "its file system is full: `make ls` shows what is there, `make erase` makes room"),
    ("MemoryError", "the board has run out of memory: press its reset button and do it again"),
)


def run(
    port: str,
    *arguments: str,
    on_line: Callable[[str], None] | None = None,
    timeout: float = 300,
) -> str:
    """Run `mpremote connect PORT ...` and return what it printed; `each_line` gets it as it comes.

    `timeout` in seconds bounds all of it. Raises UserError where it fails.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "mpremote", "connect", port, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    said = []
    assert process.stdout
    # a board that falls silent in the midst of it
    late = threading.Timer(timeout, process.kill)
    late.start()
    try:
        for line in process.stdout:
            said.append(line)
            if on_line:
                on_line(line.rstrip())
        code = process.wait()
    finally:
        late.cancel()
        process.kill()
        process.wait()
    text = "".join(said)
    if code < 0:
        raise UserError(
            f"{port}: no answer for {timeout:g} s: press the board's reset button and do it again"
        )
    if code:
        raise UserError(f"{port}: {_remedy(text)}")
    return text


def _remedy(text: str) -> str:
    for sign, remedy in _REMEDIES:
        if sign in text:
            return remedy
    lines = [line for line in text.splitlines() if line.strip()]
    return f"mpremote says: {lines[-1] if lines else 'nothing'}"


def run_interactive(port: str, *arguments: str) -> int:
    """Run it in the user's own terminal; returns its exit code."""
    return subprocess.call([sys.executable, "-m", "mpremote", "connect", port, *arguments])
