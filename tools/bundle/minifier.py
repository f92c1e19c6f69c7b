"""Private names of the device's code, shortened: a board keeps each of them in its heap for good.

MicroPython interns every name that a module brings, and never lets one go: a name costs some 20 bytes,
and its table grows by thousands at a time. What begins with an underscore is nobody's business outside
of its module or class, so `_0`, `_1`, ... stand for the private names on a board, and one of them for
many: two names share one where no module and no class, with its bases, has both. The same name has
the same short one everywhere, so that whoever reaches into another object finds what is there.

The arguments of a function are names, too. Those of private functions are shortened as well, and of
all functions where nobody else calls them, where no call names them.

Lines stay lines: a traceback names them as the source does.
"""

from __future__ import annotations

import ast
import io
import tokenize
from binascii import crc32
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import chain, count

_SHARED = 66  # short names that are enough for all, or nearly


def shortened(
    files: Mapping[str, str], public: Collection[str], inner: Collection[str] = ()
) -> dict[str, str]:
    """The same sources, whose private names are short. They have to be all that know each other.

    The functions of the files in `public` may be called by others, with names for their arguments.
    `inner` are names that are as good as private.
    """
    names = table(files, inner)
    short = {path: renamed(source, names) for path, source in files.items()}
    named = _Named()
    for source in short.values():
        named.visit(ast.parse(source))
    return {path: _arguments(source, named, path in public) for path, source in short.items()}


def table(files: Mapping[str, str], inner: Collection[str] = ()) -> dict[str, str]:
    """The short name of each private name that can have one."""
    spaces = _Spaces(inner)
    for path, source in files.items():
        spaces.module(path, ast.parse(source))
    together = list(spaces.all())
    known = spaces.defined - spaces.kept
    beside: dict[str, set[str]] = defaultdict(set)
    for space in together:
        for name in space & known:
            beside[name] |= space & known
    for name in spaces.anywhere & known:
        for other in known:
            beside[name].add(other)
            beside[other].add(name)
    short: dict[str, str] = {}
    # the number comes from the name itself: one name more leaves most of the others, and the files that
    # they are in, as they are, and so an update stays small
    for name in sorted(known, key=lambda name: (name not in spaces.anywhere, crc32(name.encode()))):
        taken = {short[other] for other in beside[name] if other in short}
        first = crc32(name.encode()) % _SHARED
        turns = (f"_{(first + turn) % _SHARED}" for turn in range(_SHARED))
        short[name] = next(new for new in chain(turns, _short(_SHARED)) if new not in taken)
    return short


def _short(first: int = 0) -> Iterator[str]:
    return (f"_{number}" for number in count(first))


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and len(name) > 1


# asyncio's own, which `loop` reaches into
_FOREIGN = {"_dequeue", "_io_queue", "_task_queue"}
_EMPTY = {"Exception", "OSError", "ValueError"}  # bases without private names


class _Spaces(ast.NodeVisitor):
    """The private names by the places that they live in: a module, or a class with all of its kin."""

    def __init__(self, inner: Collection[str]) -> None:
        self._inner = inner
        self.defined: set[str] = set()
        self.kept: set[str] = set(_FOREIGN)  # those that are also text, a parameter's, or somebody else's
        self.anywhere: set[str] = set()  # set from outside, in an object of which nothing is known
        self._modules: list[set[str]] = []
        self._classes: dict[str, set[str]] = defaultdict(set)
        self._kin: dict[str, str] = {}
        self._ours: set[str] = set()
        self._inside: list[str] = []

    def _private(self, name: str) -> bool:
        return _private(name) or name in self._inner

    def module(self, path: str, tree: ast.Module) -> None:
        self._modules.append(set())
        self.visit(tree)

    def all(self) -> Iterator[set[str]]:
        families: dict[str, set[str]] = defaultdict(set)
        for name, names in self._classes.items():
            families[self._first(name)] |= names
        for name in self._kin:
            if name not in self._ours and name not in _EMPTY:
                self.kept |= families[self._first(name)]  # what the base has is not known
        yield from families.values()
        yield from self._modules

    def _first(self, name: str) -> str:
        while self._kin.get(name, name) != name:
            name = self._kin[name]
        return name

    def _define(self, name: str, space: set[str]) -> None:
        if self._private(name):
            self.defined.add(name)
            space.add(name)

    @property
    def _space(self) -> set[str]:
        return self._classes[self._inside[-1]] if self._inside else self._modules[-1]

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._define(node.name, self._space)
        self._ours.add(node.name)
        self._kin.setdefault(node.name, node.name)
        for base in node.bases:
            name = base.attr if isinstance(base, ast.Attribute) else ast.unparse(base)
            self._kin.setdefault(name, name)
            self._kin[self._first(name)] = self._first(node.name)
            self.visit(base)
        self._inside.append(node.name)
        for child in node.body:
            match child:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    self._define(name, self._space)
            self.visit(child)
        self._inside.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._define(node.name, self._space)
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
        own = isinstance(node.value, ast.Name) and node.value.id == "self" and self._inside
        if own:
            if isinstance(node.ctx, ast.Store):
                self._define(node.attr, self._space)
            elif self._private(node.attr):
                self._space.add(node.attr)
        elif self._private(node.attr) and not isinstance(node.ctx, ast.Load):
            self.defined.add(node.attr)
            self.anywhere.add(node.attr)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if not self._private(node.id):
            return
        self._modules[-1].add(node.id)
        if isinstance(node.ctx, ast.Store):
            self.defined.add(node.id)
            if self._inside:  # in the body of a class
                self._space.add(node.id)

    def visit_Import(self, node: ast.Import) -> None:
        self._import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._import(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self._define(alias.asname or alias.name, self._modules[-1])
            if self._private(alias.name):
                self._modules[-1].add(alias.name)


def renamed(source: str, names: Mapping[str, str]) -> str:
    """A source with the short names of a table."""
    lines = source.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.NAME and token.string in names:
            (row, start), (_, end) = token.start, token.end
            line = lines[row - 1]
            lines[row - 1] = line[:start] + names[token.string] + line[end:]
    return "".join(lines)


class _Named(ast.NodeVisitor):
    """What calls name: arguments, and the functions that are given a dict of them."""

    def __init__(self) -> None:
        self.arguments: set[str] = {"self"}
        self.functions: set[str] = set()

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg is not None:
                self.arguments.add(keyword.arg)
            elif isinstance(node.func, ast.Name):
                self.functions.add(node.func.id)
            elif isinstance(node.func, ast.Attribute):
                self.functions.add(node.func.attr)
        self.generic_visit(node)


def _arguments(source: str, named: _Named, public: bool) -> str:
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    edits = {}
    tree = ast.parse(source)
    # a constant of the module is put in for its name wherever that stands, arguments included
    taken = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for function in _functions(tree):
        if public and not _private(function.name) or function.name in named.functions:
            continue
        names = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)} - named.arguments
        names -= {
            node.id for one in function.args.defaults for node in ast.walk(one) if isinstance(node, ast.Name)
        }
        start, end = (function.lineno, function.col_offset), (function.end_lineno, function.end_col_offset)
        inside = [i for i, token in enumerate(tokens) if start <= token.start < end]
        free = (new for new in _short() if new not in taken)
        short = {name: next(free) for name in sorted(names)}
        for i in inside:
            word, before = tokens[i].string, tokens[i - 1].string
            if word in short and tokens[i].type == tokenize.NAME and before not in (".", "def", "class"):
                edits[tokens[i].start] = (tokens[i].end[1], short[word])
    for (row, at), (to, new) in sorted(edits.items(), reverse=True):
        lines[row - 1] = lines[row - 1][:at] + new + lines[row - 1][to:]
    return "".join(lines)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Those of the module, and of its classes."""
    for node in tree.body:
        for one in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield one
