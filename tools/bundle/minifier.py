"""Shortens private names in the code for a board, because each name takes heap there forever.

MicroPython interns each name in a module and never frees it. A name takes about 20 bytes, and the table of
interned names grows by thousands of bytes at a time. Private names, which begin with an underscore, are not
part of the API. So the files for a board have `_0`, `_1`, ... instead. Two private names may share a short
name, unless one module uses both, or one class family (a class with its base classes and subclasses) uses
both. A name has the same short name in all files, so code that uses private attributes of another object
works.

The number of lines stays the same, so a traceback shows the same line numbers.
"""

from __future__ import annotations

import array
import ast
import asyncio
import builtins
import gc
import io
import os
import random
import select
import socket
import ssl
import sys
import time
import tokenize
from binascii import crc32
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import chain, count

from tools.bundle.package_tree import LIBRARY
from tools.paths import BOARDS, FIRMWARE, LIB

_POOL = 74  # number of short names that is enough for most; the instructions per message depend on it by 10 %
_ASYNCIO_PRIVATE = {"_dequeue", "_io_queue", "_task_queue"}  # used by umqtt5.aio.scheduler
# public classes in the folders of the library
PUBLIC_CLASSES = set("Client MQTTClient MQTTError MQTTException Journal Ack Message MessageIterator".split())
# public members of classes that are otherwise internal: Packet, Subscription, Topic
_PUBLIC_MEMBERS = set(
    "topic payload property equals copy_into qos retain dup packet_id reason "
    "topic_filter handler name int_property refuse identifier filters".split()
)
# arguments, variables and attributes with these names always hold an object of this class; an attribute may
# begin with an underscore
_RECEIVERS = {
    "session": "Session",
    "client": "Client",
    "packet": "Packet",
    "outbox": "Outbox",
    "framer": "Framer",
    "subscription": "Subscription",
    "subscriptions": "Subscriptions",
    "s": "Subscription",
    "entry": "Subscription",
    "topic": "Topic",
    "sync_client": "Client",
    "websocket": "WebSocket",
    "journal": "Journal",
    "log": "RecordLog",
}
# attributes of sockets, streams, polls, UARTs and modules that CPython does not have
_ONLY_MICROPYTHON = {
    "ioctl",
    "ipoll",
    "irq",
    "modify",
    "poll",
    "readinto",
    "register",
    "schedule",
    "unregister",
    "write",
}
# methods of I2C, 1-Wire and Wi-Fi, whose objects the application uses
_HARDWARE = {"crc8", "scan"}
# files of the device that no update over the air replaces
_CABLE_FILES = ("boot.py", "main.py", "slot.py", "archive.py", "rollback.py")
# files whose functions only this project calls
_INTERNAL_FILES = (
    "core",
    "aio",
    "journal",
    "websocket",
    "simple",
    "optional/",
    "app/",
    "sensors/",
    "actuators/",
)
_PLAIN_BASES = {"Exception", "OSError", "ValueError"}  # base classes without private names


def shorten_names(files: Mapping[str, str], internal: Collection[str] = ()) -> dict[str, str]:
    """Return the sources with short private names. `files` must have all files that use names of each other.

    `internal` contains further names to shorten, which have no underscore.
    """
    names = map_names(files, internal)
    return shorten_arguments({path: apply_name_map(source, names) for path, source in files.items()})


def internal_names() -> set[str]:
    """Return the names in the library that users never use: internal functions, members of internal classes.

    Modules in folders are internal, except for `PUBLIC_CLASSES`. Modules outside of folders are public. A
    name is not internal if it is also used in the public API, as a module, argument, keyword or string, or in
    files that only a cable can replace, or if it is an attribute in MicroPython.
    """
    defined: set[str] = set()
    kept = _names_of_micropython() | _names_used_by_cable_files() | _PUBLIC_MEMBERS
    for module, tree in LIBRARY.modules.items():
        kept |= set(module.split("/")) | _uses_as_text(tree)
        for node in tree.body:
            is_public = "/" not in module or getattr(node, "name", "") in PUBLIC_CLASSES
            (kept if is_public else defined).update(_members(node))
    return {name for name in defined - kept if not name.startswith("_")}


def application_names() -> set[str]:
    """Return the names in the device application that nothing outside of it uses.

    A name is not one of these if it is also used in the library, in a board's modules, as a module, argument,
    keyword or string, or in files that only a cable can replace, or if it is an attribute in MicroPython.
    """
    defined: set[str] = set()
    kept = _names_of_micropython() | _names_used_by_cable_files() | _HARDWARE
    for path in FIRMWARE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        kept |= {*path.relative_to(FIRMWARE).with_suffix("").parts} | _uses_as_text(tree)
        if path.name not in _CABLE_FILES:
            for node in tree.body:
                defined |= _members(node) | ({node.name} if isinstance(node, ast.ClassDef) else set())
    for path in (*BOARDS.rglob("*.py"), *LIB.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        kept |= _uses_as_text(ast.parse(source))
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        kept |= {token.string for token in tokens if token.type == tokenize.NAME}
    return {name for name in defined - kept if not name.startswith("_")}


def _names_used_by_cable_files() -> set[str]:
    """Return the names in files that no update over the air replaces. These names must never change."""
    trees = [ast.parse((FIRMWARE / name).read_text(encoding="utf-8")) for name in _CABLE_FILES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def _members(node: ast.stmt) -> set[str]:
    """Return the name of a function, or the names of the methods and attributes of a class."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return {name}
        case ast.ClassDef():
            return _class_members(node)
    return set()


def _class_members(node: ast.ClassDef) -> set[str]:
    found = set()
    for child in ast.walk(node):
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                found.add(name)
    for child in node.body:
        if isinstance(child, (ast.Assign, ast.AnnAssign)):
            found |= {
                n.id for n in ast.walk(child) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
    return found


def _uses_as_text(tree: ast.Module) -> set[str]:
    """Return arguments, keywords, strings, attributes of imported modules, and names of absolute imports."""
    found: set[str] = set()
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name) | ast.keyword(arg=str(name)) | ast.Constant(value=str(name)):
                found.add(name)
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in imported:
                found.add(name)
            case ast.ImportFrom(level=0, names=names):
                found |= {alias.name for alias in names}
    return found


def _names_of_micropython() -> set[str]:
    """Return the attributes of MicroPython's types and modules: CPython's, and `_ONLY_MICROPYTHON`."""
    owners: tuple[type, ...] = (
        str,
        bytes,
        bytearray,
        memoryview,
        list,
        dict,
        set,
        tuple,
        int,
        float,
        Exception,
        OSError,
    )
    owners += (
        array.array,
        io.BytesIO,
        io.FileIO,
        io.TextIOWrapper,
        socket.socket,
        ssl.SSLContext,
        ssl.SSLSocket,
    )
    owners += (asyncio.Event, asyncio.Lock, asyncio.Task, asyncio.StreamReader, asyncio.StreamWriter)
    modules = (asyncio, builtins, gc, os, random, select, socket, ssl, sys, time)
    return {name for owner in owners + modules for name in dir(owner)} | _ONLY_MICROPYTHON


def map_names(files: Mapping[str, str], internal: Collection[str] = ()) -> dict[str, str]:
    """Return the short name of each private name that can have one."""
    scopes = _Scopes(internal)
    for source in files.values():
        scopes.add_module(ast.parse(source))
    groups = list(scopes.groups())
    known = scopes.defined - scopes.kept
    conflicts: dict[str, set[str]] = defaultdict(set)
    for group in groups:
        for name in group & known:
            conflicts[name] |= group & known
    for names, others in (
        (scopes.set_from_outside, scopes.attributes() | scopes.set_from_outside),
        (scopes.set_in_modules, known),
    ):
        for name in names & known:
            for other in others & known:
                conflicts[name].add(other)
                conflicts[other].add(name)
    short: dict[str, str] = {}
    # The number is derived from the name, so a new name changes only few other short names, and few files.
    # This keeps updates over the air small.
    for name in sorted(known, key=lambda name: (name not in scopes.set_from_outside, crc32(name.encode()))):
        taken = {short[other] for other in conflicts[name] if other in short}
        first = crc32(name.encode()) % _POOL
        pool = (f"_{(first + turn) % _POOL}" for turn in range(_POOL))
        more = (f"_{number}" for number in count(_POOL))
        short[name] = next(new for new in chain(pool, more) if new not in taken)
    return short


def apply_name_map(source: str, names: Mapping[str, str]) -> str:
    """Return the source with its names replaced according to the map."""
    lines = source.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.NAME and token.string in names:
            (row, start), (_, end) = token.start, token.end
            line = lines[row - 1]
            lines[row - 1] = line[:start] + names[token.string] + line[end:]
    return "".join(lines)


def shorten_arguments(files: Mapping[str, str]) -> dict[str, str]:
    """Return the sources with short names for the arguments of private functions.

    MicroPython keeps the name of each argument, because a call may pass it by keyword. The new names are
    those of private members, so they take no further place in the table of names.
    """
    texts: set[str] = set()  # names that a call may pass by keyword
    for source in files.values():
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.keyword(arg=str(name)) | ast.Constant(value=str(name)):
                    texts.add(name)
    return {path: _shorten_arguments_of(path, source, texts) for path, source in files.items()}


def _shorten_arguments_of(path: str, source: str, texts: set[str]) -> str:
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    places: list[tuple[int, int, bytes, bytes]] = []  # line, column, old name, new name
    tree = ast.parse(source)
    # the compiler replaces the name of a `const` everywhere in its file
    constants = {
        n.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for n in node.targets
        if isinstance(n, ast.Name)
    }
    for function in _private_functions(path, tree):
        used = constants | {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        used |= {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
        for argument in function.args.posonlyargs + function.args.args:
            name = argument.arg
            if name in texts or len(name) < 2 or name == "self" or _is_bound_again(function, name):
                continue
            new = next(f"_{number}" for number in count() if f"_{number}" not in used)
            used.add(new)
            for node in ast.walk(function):
                if (isinstance(node, ast.Name) and node.id == name) or node is argument:
                    places.append((node.lineno, node.col_offset, name.encode(), new.encode()))
    for row, column, old, new_name in sorted(places, reverse=True):
        line = lines[row - 1]
        assert line[column : column + len(old)] == old, (line, old)
        lines[row - 1] = line[:column] + new_name + line[column + len(old) :]
    return b"".join(lines).decode()


def _private_functions(path: str, tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Return the functions and methods of a module that no program of a user calls.

    Functions inside of others do not count.
    """
    is_internal = path.removeprefix("umqtt5/").startswith(_INTERNAL_FILES)
    for node in tree.body:
        is_public = not is_internal or getattr(node, "name", "") in PUBLIC_CLASSES
        for member in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(member, ast.FunctionDef) and (
                _is_private(member.name) or not (is_public or member.name in _PUBLIC_MEMBERS)
            ):
                yield member


def _is_bound_again(function: ast.FunctionDef, name: str) -> bool:
    """Return True if something in a function, other than an assignment, gives the name another meaning."""
    for node in ast.walk(function):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() if node is not function:
                if name in {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)}:
                    return True
            case ast.Global(names=names) | ast.Nonlocal(names=names) if name in names:
                return True
            case ast.alias() if name in (node.asname, node.name):
                return True
            case ast.ExceptHandler(name=caught) if caught == name:
                return True
            case ast.JoinedStr():
                return True
    return False


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and len(name) > 1


class _Scopes(ast.NodeVisitor):
    """Collects private names by scope: a module, or a class together with its bases and subclasses."""

    def __init__(self, internal: Collection[str]) -> None:
        self._internal = internal
        self.defined: set[str] = set()
        self.kept: set[str] = set(_ASYNCIO_PRIVATE)  # names also used as text, as an argument, or by asyncio
        self.set_from_outside: set[str] = set()  # attributes set on an object of unknown class
        self.set_in_modules: set[str] = set()  # attributes set on an imported module
        self._imported: set[str] = set()
        self._modules: list[set[str]] = []
        self._classes: dict[str, set[str]] = defaultdict(set)
        self._family: dict[str, str] = {}  # union-find: maps a class to another class of its family
        self._own_classes: set[str] = set()
        self._class_stack: list[str] = []
        self._function_depth = 0

    def _is_shortened(self, name: str) -> bool:
        return _is_private(name) or name in self._internal

    def add_module(self, tree: ast.Module) -> None:
        self._modules.append(set())
        self._imported = set()
        self.visit(tree)

    def attributes(self) -> set[str]:
        """Return the names that are members of a class."""
        return set().union(*self._classes.values())

    def groups(self) -> Iterator[set[str]]:
        """Return the sets of names that must stay distinct from each other."""
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
        self._function_depth += 1
        self.generic_visit(node)
        self._function_depth -= 1

    def visit_arg(self, node: ast.arg) -> None:
        self.kept.add(node.arg)

    def visit_keyword(self, node: ast.keyword) -> None:
        self.kept.add(node.arg or "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.kept.add(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        scope = self._scope if owner == "self" and self._class_stack else None
        if isinstance(node.value, ast.Attribute):
            owner = node.value.attr.lstrip("_")
        if owner in _RECEIVERS:
            scope = self._classes[_RECEIVERS[owner]]
        if scope is not None:
            if isinstance(node.ctx, ast.Store):
                self._define(node.attr, scope)
            elif self._is_shortened(node.attr):
                scope.add(node.attr)
        elif self._is_shortened(node.attr) and not isinstance(node.ctx, ast.Load):
            self.defined.add(node.attr)
            is_module = isinstance(node.value, ast.Name) and node.value.id in self._imported
            (self.set_in_modules if is_module else self.set_from_outside).add(node.attr)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if not self._is_shortened(node.id):
            return
        self._modules[-1].add(node.id)
        if self._class_stack and not self._function_depth:  # a class body can use module names as well
            self._scope.add(node.id)
        if isinstance(node.ctx, ast.Store):
            self.defined.add(node.id)

    def visit_Import(self, node: ast.Import) -> None:
        self._visit_import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._visit_import(node)

    def _visit_import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self._imported.add(alias.asname or alias.name)
            self._define(alias.asname or alias.name, self._modules[-1])
            if self._is_shortened(alias.name):
                self._modules[-1].add(alias.name)
