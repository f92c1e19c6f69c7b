"""Output to the terminal. Text from a board, a broker or a file cannot control the terminal.

Such text may contain escape sequences, which move the cursor, change the title or the clipboard, or it may
look like the markup of rich. Every command prints with `Console` or `echo` of this module: both show each
control character as an escape such as `\\x1b`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

# these change the direction of the text after them, so that a text reads as another one
_DIRECTIONS = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_ESCAPES = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *_DIRECTIONS, *range(0xD800, 0xE000))
    if code not in (0x09, 0x0A)
}


def escape_controls(text: str) -> str:
    """Return `text` with each control character as an escape. Tabs and line feeds stay."""
    return text.translate(_ESCAPES)


class EscapingConsole(rich.console.Console):
    """A rich console that escapes the control characters in all text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escape_controls(segment.text))


class Console(EscapingConsole):
    """A rich console that takes no text for markup, and that escapes the control characters in all text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})


def echo(text: str, out: TextIO | None = None, end: str = "\n") -> None:
    """Print `text` on `out`, standard output by default."""
    stream = out or sys.stdout
    stream.write(escape_controls(text) + end)
    stream.flush()
