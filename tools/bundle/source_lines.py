"""Finds the source line from which a line of a bundled file was generated."""

from __future__ import annotations

import ast
from typing import NamedTuple

from tools.bundle.bundler import bundle_statements, to_source, used_statements
from tools.bundle.package_tree import Package


class SourceLine(NamedTuple):
    """Line number in a module. The module is named by its path in the package."""

    module: str
    line: int


def map_source_lines(package: Package, file: str) -> dict[int, SourceLine]:
    """The source line of each line of a file on a board, by line number."""
    body = bundle_statements(package)[file]
    found: dict[int, SourceLine] = {}
    # the text of a file parses to the same statements again, now with the line numbers of the file
    for old, new in zip(used_statements(body), ast.parse(to_source(body)).body, strict=True):
        for source, result in zip(ast.walk(old), ast.walk(new), strict=True):
            if isinstance(result, (ast.stmt, ast.expr)) and (origin := getattr(source, "origin", None)):
                found.setdefault(result.lineno, SourceLine(*origin))
    return found
