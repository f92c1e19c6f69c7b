"""The command `stack-frames`: lists the functions of the library whose stack frame is allocated on the heap.

MicroPython allocates a frame of more than 11 words on the heap at each call, and frees it on return, so only
`micropython.mem_total()` shows it. A frame holds arguments, locals, the value stack, and three words for each
nested `try` or `with` block. The sizes are read from the compiled .mpy files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tools.bundle.compiler import compile_package
from tools.console import Console

MAX_STACK_WORDS = 11  # a larger frame is allocated on the heap
_WORDS_PER_TRY = 3
_STATIC_NAMES = {14: "__getattr__", 17: "__init__"}  # names with a fixed number in MicroPython


@dataclass(frozen=True)
class StackFrame:
    """Size of the stack frame of a function."""

    function: str
    state: int  # words for arguments, locals and the value stack
    exception_slots: int  # maximum number of nested `try` and `with` blocks
    code: int  # bytes of bytecode

    @property
    def size_words(self) -> int:
        """Words of the whole frame."""
        return self.state + _WORDS_PER_TRY * self.exception_slots


class _Reader:
    """Reader for .mpy files of version 6. Their format is in MicroPython's docs/reference/mpyfiles.rst."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 4  # after the header

    def number(self) -> int:
        value = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value

    def name(self) -> str:
        size = self.number()
        if size & 1:
            return _STATIC_NAMES.get(size >> 1, f"<{size >> 1}>")
        start = self.at
        self.at += (size >> 1) + 1
        return self.data[start : self.at - 1].decode()

    def constant(self) -> None:
        kind = self.data[self.at]
        self.at += 1
        if kind <= 4:  # None, True, False, Ellipsis
            return
        size = self.number()
        if kind == 10:  # a tuple
            for _ in range(size):
                self.constant()
        else:
            self.at += size + (kind in (5, 6))  # str and bytes end with a zero


def _prelude(data: bytes, at: int) -> tuple[int, int, int]:
    """Parse the prelude of a function. Return words of state, exception slots, and the offset after them."""
    byte = data[at]
    at += 1
    state, tries, group = byte >> 3 & 0xF, byte >> 2 & 1, 0
    while byte & 0x80:
        byte = data[at]
        at += 1
        state |= (byte & 0x30) << (2 * group)
        tries |= (byte & 0x02) << group
        group += 1
    return state + 1, tries, at


def read_frames(path: Path) -> Iterator[StackFrame]:
    """Yield the frames of all functions in a .mpy file."""
    reader = _Reader(path.read_bytes())
    names, constants = reader.number(), reader.number()
    table = [reader.name() for _ in range(names)]
    for _ in range(constants):
        reader.constant()
    yield from _function(reader, table)


def _function(reader: _Reader, table: list[str]) -> Iterator[StackFrame]:
    kind = reader.number()
    start, size = reader.at, kind >> 3
    state, tries, at = _prelude(reader.data, start)
    while reader.data[at] & 0x80:
        at += 1
    reader.at = at + 1
    yield StackFrame(table[reader.number()], state, tries, size)
    reader.at = start + size
    if kind & 4:
        for _ in range(reader.number()):
            yield from _function(reader, table)


def main(
    everything: Annotated[
        bool, typer.Option("--all", help="list the functions with smaller frames, too")
    ] = False,
) -> None:
    """List the functions of the library whose stack frame is allocated on the heap at each call."""
    table = Table("module", "function", "words", "state", "try", "bytes of code")
    for column in table.columns[2:]:
        column.justify = "right"
    with tempfile.TemporaryDirectory() as folder:
        compile_package(Path(folder), short_names=False)
        for path in sorted(Path(folder).rglob("*.mpy")):
            for frame in read_frames(path):
                if everything or frame.size_words > MAX_STACK_WORDS:
                    row = (frame.size_words, frame.state, frame.exception_slots, frame.code)
                    table.add_row(path.stem, frame.function, *map(str, row))
    Console().print(table)
    typer.echo(f"A frame of more than {MAX_STACK_WORDS} words is allocated on the heap.")
