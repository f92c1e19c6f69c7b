"""Filters what a program on a board writes to the terminal of the user.

The prompt of MicroPython moves the cursor within a line, and programs use colours. Other control sequences do
not belong to a prompt: they change the title or the clipboard, or overwrite what was printed before.
"""

from __future__ import annotations

import codecs
import re
from typing import IO, TextIO

from tools.console import escape_controls

# styles, and in a line: move the cursor, erase to the end; a backspace moves the cursor, too
_ALLOWED = re.compile(r"(\x1b\[[0-9;]{0,16}[mCDK]|[\x08\r])")
_INCOMPLETE = re.compile(r"\x1b(\[[0-9;]{0,16})?\Z")
_CHUNK = 65536  # bytes


class TerminalFilter:
    """Decodes and filters the output of a program. Control sequences that are not allowed become visible."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""  # the beginning of a control sequence

    def feed(self, data: bytes, final: bool = False) -> str:
        """Return the text to print for the next bytes. `final` also returns what was held back."""
        text = self._held + self._decoder.decode(data, final)
        incomplete = None if final else _INCOMPLETE.search(text)
        self._held = incomplete[0] if incomplete else ""
        parts = _ALLOWED.split(text[: len(text) - len(self._held)])
        # the pattern has one group, so every second part is an allowed sequence
        return "".join(part if at % 2 else escape_controls(part) for at, part in enumerate(parts))


def copy_filtered(source: IO[bytes], out: TextIO) -> None:
    """Copy the output of a program to `out` until its end."""
    terminal_filter = TerminalFilter()
    while data := source.read1(_CHUNK):  # type: ignore[attr-defined]
        out.write(terminal_filter.feed(data))
        out.flush()
    out.write(terminal_filter.feed(b"", final=True))
    out.flush()
