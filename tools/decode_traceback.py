"""The command `decode-traceback`: finds the source lines of a traceback from a board.

On a board several modules are combined in one file, and private names are shortened. So a traceback that a
device prints, or publishes after a crash, has other file names and line numbers than the sources.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from tools.bundle import package_tree, source_lines
from tools.console import echo
from tools.errors import UserError
from tools.paths import FIRMWARE, LIB, ROOT

_LINE = re.compile(r'File "(?:.*/)?(\w+)(?:\.py)?", line (\d+)')


def find_source_line(file: str, line: int) -> str | None:
    """Return the source (path:line and function) of a line in a file on a board, or None if it has none."""
    for package in (package_tree.LIBRARY, package_tree.APPLICATION):
        if file in package.bundles:
            origin = source_lines.map_source_lines(package, file).get(line)
            return origin and _format_location(package.folder / f"{origin.module}.py", origin.line)
    for name in package_tree.LIBRARY.modules:
        if name not in package_tree.LIBRARY.file_of_module and name.rpartition("/")[2] == file:
            origin = source_lines.map_source_lines(package_tree.LIBRARY, name).get(line)
            return origin and _format_location(package_tree.LIBRARY.folder / f"{name}.py", origin.line)
    found = [
        path
        for path in sorted(FIRMWARE.rglob(f"{file}.py"))
        if line <= len(path.read_text(encoding="utf-8").splitlines())
    ]
    return " or ".join(_format_location(path, line) for path in found) or None


def _format_location(path: Path, line: int) -> str:
    function = ""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if node.lineno <= line <= (node.end_lineno or 0):
            function = f", in {node.name}"
    return f"{path.relative_to(ROOT)}:{line}{function}"


def main(
    file: Annotated[Optional[str], typer.Argument(help="file on the board, such as core")] = None,
    line: Annotated[Optional[int], typer.Argument(min=1, help="line number in that file")] = None,
) -> None:
    """Find the source of a line on a board. Without arguments, add the sources to a log on standard input.

    The sources must be those that were installed on the board. To translate a traceback:

    make logs | python -m tools decode-traceback
    """
    if file is None:
        for text in sys.stdin:
            found = _LINE.search(text)
            location = found and find_source_line(found[1], int(found[2]))
            echo(text.rstrip() + (f"  ({location})" if location else ""))
        return
    if line is None:
        raise UserError("The line number is missing. Example: python -m tools decode-traceback core 220")
    name = re.sub(r"\.(py|mpy)$", "", file)
    location = find_source_line(name, line)
    if location is None:
        raise UserError(
            f"{name}: line {line} has no source in {LIB.name}/ or {FIRMWARE.name}/. "
            "Use the sources that were installed on the board"
        )
    echo(location)
