"""Finds the modules of the library that the application of a board can import.

A board image contains no others, because each file takes at least one block of flash, and an update over the
air needs room for a second version.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

_LIBRARY = "umqtt5/"
# modules of methods of the client that the application never calls: `request`, `reauthenticate`
_NEVER_CALLED = ("umqtt5/request.py", "umqtt5/optional/enhanced_auth.py")


def drop_unreachable(files: Mapping[str, str]) -> dict[str, str]:
    """Return the sources of a board without the modules of the library that the application never imports.

    `files` are the sources by path. Imports within functions count, and those of tables of kinds, too: all
    files outside of the library remain.
    """
    found: set[str] = set()
    pending = [path for path in files if not path.startswith(_LIBRARY)]
    while pending:
        path = pending.pop()
        if path in found or path in _NEVER_CALLED:
            continue
        found.add(path)
        for module in _imported_modules(path, files[path]):
            pending += [name for name in (f"{module}.py", f"{module}/__init__.py") if name in files]
    return {path: source for path, source in files.items() if path in found}


def _imported_modules(path: str, source: str) -> Iterator[str]:
    """Yield the paths, without suffix, of what a file imports and of the packages around it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_packages(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = path.split("/")[: -node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:  # a name is a module, or something in the module `base`
                yield from _with_packages([*base, alias.name])


def _with_packages(parts: list[str]) -> Iterator[str]:
    for end in range(1, len(parts) + 1):
        yield "/".join(parts[:end])
