"""Finds which modules become one file on a board, from the folders of `lib/umqtt5` and `firmware/app`.

A folder whose `__init__.py` imports from its own modules is one file on a board: `lib/umqtt5/core/` becomes
`umqtt5/core.mpy`. Every other module is a file of its own. The folder `cpython`, the module `typing` and the
stubs (`.pyi`) never go to a board.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

from tools.paths import FIRMWARE, LIB

CPYTHON_ONLY = ("cpython", "typing.py")


@dataclass(frozen=True)
class Package:
    """A Python package with the files that it becomes on a board.

    Modules and files are named by their path in the package without suffix: `core/session`, `core`.
    """

    folder: Path

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """The parsed source of each module that goes to a board."""
        names = {path.relative_to(self.folder).with_suffix("").as_posix(): path for path in self.sources()}
        return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in names.items()}

    def sources(self) -> list[Path]:
        """Return the source files that go to a board, without reading them."""
        return sorted(
            path
            for path in self.folder.rglob("*.py")
            if path.relative_to(self.folder).parts[0] not in CPYTHON_ONLY
        )

    @cached_property
    def bundles(self) -> dict[str, list[str]]:
        """The modules of each file that combines several, in the order of their imports."""
        found = {}
        for name, tree in self.modules.items():
            folder, _, stem = name.rpartition("/")
            if folder and stem == "__init__" and any(_imports_own_module(node) for node in tree.body):
                members = {m: t for m, t in self.modules.items() if m.startswith(folder + "/")}
                found[folder] = self._in_import_order(members)
        return found

    @cached_property
    def file_of_module(self) -> dict[str, str]:
        """The file that each bundled module goes to."""
        return {module: file for file, modules in self.bundles.items() for module in modules}

    def _in_import_order(self, members: Mapping[str, ast.Module]) -> list[str]:
        # lists, because the order of a set differs from run to run, but the image must stay the same
        graph = {
            name: [
                target
                for node in tree.body
                if isinstance(node, ast.ImportFrom) and node.level
                for target in self.import_targets(name, node)
                if target in members
            ]
            for name, tree in members.items()
        }
        return list(TopologicalSorter(graph).static_order())

    def import_targets(self, importer: str, node: ast.ImportFrom) -> list[str]:
        """The module of each name in a relative import: that module itself, or the one that has the name."""
        base = self.import_base(importer, node)
        found = []
        for alias in node.names:
            name = f"{base}/{alias.name}" if base else alias.name
            found.append(name if name in self.modules or f"{name}/__init__" in self.modules else base)
        return found

    def import_base(self, importer: str, node: ast.ImportFrom) -> str:
        """The module or folder that a relative import names after `from`; "" for the package itself."""
        parts = importer.split("/")[: -node.level] + (node.module.split(".") if node.module else [])
        return "/".join(parts)


def _imports_own_module(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.level == 1


LIBRARY = Package(LIB / "umqtt5")
APPLICATION = Package(FIRMWARE / "app")
