"""`python -m tools decode-traceback`: which line of the sources a line on a board is.

A board has several modules in one file, and short names for private ones. The traceback that it prints,
and publishes at its next start, names those.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from tools.bundle import package_tree, source_lines
from tools.errors import UserError
from tools.paths import FIRMWARE, LIB, ROOT

_LINE = re.compile(r'File "(?:.*/)?(\w+)(?:\.py)?", line (\d+)')


def find_source_line(file: str, line: int) -> str | None:
    """Where a line of a file on a board is written, as path:line and the function; None where nowhere."""
    for package in (package_tree.LIBRARY, package_tree.APPLICATION):
        if file in package.bundles:
            origin = source_lines.map_source_lines(package, file).get(line)
            return origin and _said(package.folder / f"{origin.module}.py", origin.line)
    for name in package_tree.LIBRARY.modules:
        if name not in package_tree.LIBRARY.file_of_module and name.rpartition("/")[2] == file:
            origin = source_lines.map_source_lines(package_tree.LIBRARY, name).get(line)
            return origin and _said(package_tree.LIBRARY.folder / f"{name}.py", origin.line)
    found = [
        path for path in sorted(FIRMWARE.rglob(f"{file}.py")) if line <= len(path.read_text().splitlines())
    ]
    return " or ".join(_said(path, line) for path in found) or None


def _said(path: Path, line: int) -> str:
    inside = ""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if node.lineno <= line <= (node.end_lineno or 0):
            inside = f", in {node.name}"
    return f"{path.relative_to(ROOT)}:{line}{inside}"


def main(
    file: Annotated[Optional[str], typer.Argument(help="a file on the board, such as core")] = None,
    line: Annotated[Optional[int], typer.Argument(min=1, help="a line of it")] = None,
) -> None:
    """Which line of the sources a line on a board is. With no arguments, of each in a traceback.

    The sources have to be those that the board was made from. For a traceback:

    make logs | python -m tools decode-traceback
    """
    if file is None:
        for text in sys.stdin:
            found = _LINE.search(text)
            where = found and find_source_line(found[1], int(found[2]))
            typer.echo(text.rstrip() + (f"  ({where})" if where else ""))
        return
    if line is None:
        raise UserError("decode-traceback: say a line, too: python -m tools decode-traceback core 220")
    name = re.sub(r"\.(py|mpy)$", "", file)
    where = find_source_line(name, line)
    if where is None:
        raise UserError(
            f"decode-traceback: no line {line} of {name} comes from {LIB.name}/ or {FIRMWARE.name}/"
        )
    typer.echo(where)
