"""Shortens private names in the code of a board, because a board keeps each name in its heap for ever.

MicroPython interns every name that a module brings and never frees one; a name costs about 20 bytes and the
interning table grows by thousands of bytes at a time. A name that begins with an underscore is used only in
its own module or class. So `_0`, `_1`, ... replace the private names on a board, and one short name serves
several: two private names share a short one if no module and no family of classes has both. A name gets the
same short name in all files, so code that reaches into another object still finds its attributes.

The number of lines stays the same, so a traceback names the same lines.
"""

from __future__ import annotations

import ast
import io
import tokenize
from binascii import crc32
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import chain, count

from tools.bundle.package_tree import LIBRARY

_POOL = 66  # number of short names that is enough for nearly all private names
_ASYNCIO_PRIVATE = {"_dequeue", "_io_queue", "_task_queue"}  # used by umqtt5.aio.scheduler
_PLAIN_BASES = {"Exception", "OSError", "ValueError"}  # base classes without private names


def shorten_names(files: Mapping[str, str], internal: Collection[str] = ()) -> dict[str, str]:
    """The same sources with short private names. `files` must be all files that use each other.

    `internal` are names that are shortened as well although they have no underscore.
    """
    names = map_names(files, internal)
    return {path: apply_name_map(source, names) for path, source in files.items()}


def internal_functions() -> set[str]:
    """Functions of the library that users never call: those of modules in folders.

    A name that is also a method, attribute, argument, keyword or text anywhere in the library stays.
    """
    functions = {
        node.name
        for name, tree in LIBRARY.modules.items()
        if "/" in name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not _is_private(node.name)
    }
    for name, tree in LIBRARY.modules.items():
        functions -= _other_uses(tree)
        functions -= set(name.split("/"))
        if "/" not in name:
            functions -= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return functions


def _other_uses(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                found.add(name)
            case ast.Constant(value=str(name)):
                found.add(name)
            case ast.ClassDef(body=body):
                found |= {n.name for n in body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}
    return found


def map_names(files: Mapping[str, str], internal: Collection[str] = ()) -> dict[str, str]:
    """The short name of each private name that can have one."""
    scopes = _Scopes(internal)
    for source in files.values():
        scopes.add_module(ast.parse(source))
    groups = list(scopes.groups())
    known = scopes.defined - scopes.kept
    conflicts: dict[str, set[str]] = defaultdict(set)
    for group in groups:
        for name in group & known:
            conflicts[name] |= group & known
    for name in scopes.set_from_outside & known:
        for other in known:
            conflicts[name].add(other)
            conflicts[other].add(name)
    short: dict[str, str] = {}
    # the number is derived from the name: adding a name leaves most other names, and the files that they
    # are in, as they are, so an update over the air stays small
    for name in sorted(known, key=lambda name: (name not in scopes.set_from_outside, crc32(name.encode()))):
        taken = {short[other] for other in conflicts[name] if other in short}
        first = crc32(name.encode()) % _POOL
        pool = (f"_{(first + turn) % _POOL}" for turn in range(_POOL))
        more = (f"_{number}" for number in count(_POOL))
        short[name] = next(new for new in chain(pool, more) if new not in taken)
    return short


def apply_name_map(source: str, names: Mapping[str, str]) -> str:
    """A source with the names of a map replaced."""
    lines = source.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.NAME and token.string in names:
            (row, start), (_, end) = token.start, token.end
            line = lines[row - 1]
            lines[row - 1] = line[:start] + names[token.string] + line[end:]
    return "".join(lines)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and len(name) > 1


class _Scopes(ast.NodeVisitor):
    """Collects private names by scope: a module, or a class together with its bases and subclasses."""

    def __init__(self, internal: Collection[str]) -> None:
        self._internal = internal
        self.defined: set[str] = set()
        self.kept: set[str] = set(_ASYNCIO_PRIVATE)  # names that are also text, an argument or asyncio's
        self.set_from_outside: set[str] = set()  # attributes set on an object of unknown class
        self._modules: list[set[str]] = []
        self._classes: dict[str, set[str]] = defaultdict(set)
        self._family: dict[str, str] = {}  # union-find: a class to another of its family
        self._own_classes: set[str] = set()
        self._class_stack: list[str] = []

    def _is_shortened(self, name: str) -> bool:
        return _is_private(name) or name in self._internal

    def add_module(self, tree: ast.Module) -> None:
        self._modules.append(set())
        self.visit(tree)

    def groups(self) -> Iterator[set[str]]:
        """The sets of names that must stay distinct."""
        families: dict[str, set[str]] = defaultdict(set)
        for name, names in self._classes.items():
            families[self._root(name)] |= names
        for name in self._family:
            if name not in self._own_classes and name not in _PLAIN_BASES:
                self.kept |= families[self._root(name)]  # the names of a foreign base class are unknown
        yield from families.values()
        yield from self._modules

    def _root(self, name: str) -> str:
        while self._family.get(name, name) != name:
            name = self._family[name]
        return name

    def _define(self, name: str, scope: set[str]) -> None:
        if self._is_shortened(name):
            self.defined.add(name)
            scope.add(name)

    @property
    def _scope(self) -> set[str]:
        return self._classes[self._class_stack[-1]] if self._class_stack else self._modules[-1]

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._define(node.name, self._scope)
        self._own_classes.add(node.name)
        self._family.setdefault(node.name, node.name)
        for base in node.bases:
            name = base.attr if isinstance(base, ast.Attribute) else ast.unparse(base)
            self._family.setdefault(name, name)
            self._family[self._root(name)] = self._root(node.name)
            self.visit(base)
        self._class_stack.append(node.name)
        for child in node.body:
            match child:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    self._define(name, self._scope)
            self.visit(child)
        self._class_stack.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._define(node.name, self._scope)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        self.kept.add(node.arg)

    def visit_keyword(self, node: ast.keyword) -> None:
        self.kept.add(node.arg or "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.kept.add(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        is_own = isinstance(node.value, ast.Name) and node.value.id == "self" and self._class_stack
        if is_own:
            if isinstance(node.ctx, ast.Store):
                self._define(node.attr, self._scope)
            elif self._is_shortened(node.attr):
                self._scope.add(node.attr)
        elif self._is_shortened(node.attr) and not isinstance(node.ctx, ast.Load):
            self.defined.add(node.attr)
            self.set_from_outside.add(node.attr)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if not self._is_shortened(node.id):
            return
        self._modules[-1].add(node.id)
        if isinstance(node.ctx, ast.Store):
            self.defined.add(node.id)
            if self._class_stack:  # in the body of a class
                self._scope.add(node.id)

    def visit_Import(self, node: ast.Import) -> None:
        self._visit_import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._visit_import(node)

    def _visit_import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self._define(alias.asname or alias.name, self._modules[-1])
            if self._is_shortened(alias.name):
                self._modules[-1].add(alias.name)
