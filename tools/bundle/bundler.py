"""Combines the modules that become one file on a board, such as `core` or `node`, into one source.

Each .mpy file has its own module dictionary and its own copy of the names that it uses, and the compiler
replaces a `const()` by its value only within a file. So one file for modules that are always loaded together
saves heap. docs/board-image.md explains each step and what it saves. The result is Python source with one
statement per line.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Sequence

from tools.bundle.package_tree import APPLICATION, LIBRARY, Package

Constants = dict[str, dict[str, int]]


def bundle_sources(package: Package = LIBRARY) -> dict[str, str]:
    """The source of each file on a board, by its name in the package."""
    return {name: to_source(body) for name, body in bundle_statements(package).items()}


def bundle_application() -> dict[str, str]:
    """The sources of the device application. A file that combines no modules keeps its line numbers."""
    bundles = bundle_sources(APPLICATION)
    files = {name: bundles[name] for name in APPLICATION.bundles}
    for name in APPLICATION.modules:
        if name not in APPLICATION.file_of_module:
            source = (APPLICATION.folder / f"{name}.py").read_text(encoding="utf-8")
            files[name] = _redirect_imports(APPLICATION, name, source)
    return files


def bundle_statements(package: Package) -> dict[str, list[ast.stmt]]:
    """The statements of each file. Each node has `origin`, its module and line in the sources."""
    trees = {name: copy.deepcopy(tree) for name, tree in package.modules.items()}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.stmt, ast.expr)):
                node.origin = (name, node.lineno)  # type: ignore[union-attr]
    constants = {name: _constants(tree) for name, tree in trees.items() if name in package.file_of_module}
    files = {}
    for file, names in package.bundles.items():
        body: list[ast.stmt] = []
        for name in names:
            body += _for_board(package, trees.pop(name), name, constants, file)
        files[file] = _name_builtins(names[0]) + _without_repeated_imports(body)
    for name, tree in trees.items():
        body = _for_board(package, tree, name, constants, name)
        if body or not name.endswith("__init__"):  # MicroPython needs no `__init__` in a folder
            files[name] = body
    return files


def _name_builtins(module: str) -> list[ast.stmt]:
    """Statements that make builtins names of the file, because MicroPython searches builtins one by one."""
    statements = ast.parse("".join(f"{name} = {name}\n" for name in ("len", "isinstance", "min"))).body
    for statement in statements:
        for node in ast.walk(statement):
            node.origin = (module, 1)  # type: ignore[attr-defined]
    return statements


def to_source(body: Sequence[ast.stmt]) -> str:
    """Statements as text, without imports that no statement uses."""
    return ast.unparse(ast.Module(used_statements(body), [])) + "\n"


def used_statements(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The statements without absolute imports of one name that no statement refers to.

    `import package.module` stays: a module may be imported only to load it at the start.
    """
    names = {node.id for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return [statement for statement in body if not _is_unused_import(statement, names)]


def _is_unused_import(statement: ast.stmt, names: set[str]) -> bool:
    if not isinstance(statement, (ast.Import, ast.ImportFrom)) or len(statement.names) != 1:
        return False
    if isinstance(statement, ast.ImportFrom) and statement.level:
        return False
    alias = statement.names[0]
    if isinstance(statement, ast.Import) and "." in alias.name and not alias.asname:
        return False
    return (alias.asname or alias.name) not in names


def _constants(tree: ast.Module) -> dict[str, int]:
    """The integers that a module names with `NAME = const(1)`."""
    found = {}
    for node in tree.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id="const"), args=[ast.Constant(value=int(value))]),
            ):
                found[name] = value
    return found


def _for_board(
    package: Package, tree: ast.Module, module: str, constants: Constants, file: str
) -> list[ast.stmt]:
    """The statements of a module as they go into `file`, without those that a board does not need."""
    known = dict(constants.get(module, {}))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            for target, alias in zip(package.import_targets(module, node), node.names, strict=True):
                if alias.name in constants.get(target, {}):
                    known[alias.asname or alias.name] = constants[target][alias.name]
    tree = _ForBoard(package, known, module, file).visit(tree)
    ast.fix_missing_locations(tree)
    return tree.body


class _ForBoard(ast.NodeTransformer):
    """Replaces constants, redirects imports, and drops docstrings, annotations and CPython branches."""

    def __init__(self, package: Package, constants: dict[str, int], module: str, file: str) -> None:
        self.package, self.constants, self.module, self.file = package, constants, module, file

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self.constants:
            return ast.Constant(self.constants[node.id])
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
        target = node.targets[0]
        if isinstance(target, ast.Name) and (target.id in self.constants or target.id == "__all__"):
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
        targets = self.package.import_targets(self.module, node)
        files = {self.package.file_of_module.get(target) for target in targets}
        if files == {self.file}:
            return None
        if files != {None}:
            node.names = [alias for alias in node.names if (alias.asname or alias.name) not in self.constants]
        if not node.names:
            return None
        redirect_import(self.package, self.module, node, self.file)
        return node


def redirect_import(package: Package, importer: str, node: ast.ImportFrom, file: str) -> None:
    """Change a relative import of the module `importer`, in `file` on a board, to name a file on a board.

    Raises ValueError if the imported names come from modules of several files.
    """
    base = package.import_base(importer, node)
    targets = set(package.import_targets(importer, node))
    files = {package.file_of_module.get(target, target) for target in targets}
    if targets - {base} and not any(target in package.file_of_module for target in targets):
        target = base  # the imported names are modules that are not combined: keep their folder
    elif len(files) == 1:
        target = files.pop()
    else:
        raise ValueError(f"{importer}: {ast.unparse(node)} names modules of several files on a board")
    here, there = file.split("/")[:-1], target.split("/") if target else []
    shared = 0
    while shared < min(len(here), len(there)) and here[shared] == there[shared]:
        shared += 1
    node.level = len(here) - shared + 1
    node.module = ".".join(there[shared:]) or None


def _redirect_imports(package: Package, module: str, source: str) -> str:
    """The source of a module with its relative imports redirected; all lines keep their numbers."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            new = copy.copy(node)
            redirect_import(package, module, new, module)
            if (new.level, new.module) != (node.level, node.module):
                first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
                rest = lines[last][node.end_col_offset :]
                start = lines[first][: node.col_offset]
                lines[first] = start + ast.unparse(new) + "\n" * (last - first) + rest
                for number in range(first + 1, last + 1):
                    lines[number] = ""
    return "".join(lines)


def _without_repeated_imports(body: Iterable[ast.stmt]) -> list[ast.stmt]:
    """Drops repeated imports. Raises ValueError if two modules of a file define the same name."""
    seen: set[str] = set()
    found: list[ast.stmt] = []
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            text = ast.unparse(node)
            if text not in seen:
                seen.add(text)
                found.append(node)
            continue
        for name in _defined_names(node):
            if name in seen:
                raise ValueError(f"two modules of one file on a board define {name}")
            seen.add(name)
        found.append(node)
    return found


def _defined_names(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
