"""Short names for private ones: a program does what it did, and the lines are found again."""

from __future__ import annotations

import ast
import re
import sys
import types

import pytest

from host_tests.tools.test_tools import tool
from tools.bundle import bundler, image, minifier

LAMPS = """\
import other
from other import _double

_LIMIT = 10


class _Lamp:
    _made = 0

    def __init__(self, level):
        self._level = level
        self._trace = []

    def _note(self, text):
        self._trace.append(text)

    def up(self, step=1):
        self._level = _double(self._level) + step
        self._note(str(self._level))
        return self._level

    def level(self, level):
        return self._level - level

    def told(self, *, prefix):
        return [prefix + text for text in self._trace]


class Dimmed(_Lamp):
    def __init__(self, level, most):
        super().__init__(level)
        self._most = most

    def up(self, step=1):
        self._level = min(_Lamp.up(self, step), self._most, _LIMIT)
        return self._level


def _options(first, second=2):
    return first * second


def play(level):
    lamp = Dimmed(level, 7)
    other.Watch(lamp).look(lamp)
    lamp._hidden = 3  # set from outside
    steps = [lamp.up(step=2) for step in range(3)]
    found = [getattr(lamp, "_most"), lamp._hidden, lamp._made]
    given = {"first": 3, "second": 4}
    inner = lambda level: level + lamp._level
    return steps, lamp.told(prefix="n"), found, _options(**given), inner(level), lamp.level(1)
"""
OTHER = """\
class Watch:
    def __init__(self, lamp):
        self._lamp = lamp
        self._seen = 0

    def look(self, lamp):
        self._seen = lamp._level
        lamp._level = self._seen + 0
        return self._seen


def _double(value):
    return 2 * value
"""


def run(files: dict[str, str]) -> object:
    """What `play` of the program returns."""
    try:
        for name, source in files.items():
            module = types.ModuleType(name)
            sys.modules[name] = module
            exec(compile(source, name, "exec"), module.__dict__)
        return sys.modules["lamps"].__dict__["play"](1)
    finally:
        for name in files:
            sys.modules.pop(name, None)


def test_a_program_with_short_names_does_the_same() -> None:
    files = {"other": OTHER, "lamps": LAMPS}
    short = minifier.shortened(files, ())
    assert run(short) == run(files)
    left = set(re.findall(r"\b_[a-z]\w+", "".join(short.values())))
    assert left == {"_most"}  # it is text, too


def test_names_that_live_together_stay_apart_and_others_share() -> None:
    table = minifier.table({"other": OTHER, "lamps": LAMPS})
    together = ["_level", "_trace", "_note", "_made", "_hidden"]
    assert len({table[name] for name in together}) == len(together)
    many = "\n".join(f"class C{n}:\n    def _name_{n}(self):\n        pass\n" for n in range(200))
    assert len(set(minifier.table({"many": many}).values())) < 70
    device = minifier.table(image.sources("host"))
    assert len(device) > 500 and len(set(device.values())) < 80


def test_arguments_that_somebody_may_name_stay() -> None:
    source = "def shown(value, unit):\n    return value, unit\ndef _hidden(value):\n    return value\n"
    assert "shown(value, unit)" in minifier.shortened({"a": source}, ["a"])["a"]
    assert "value" not in minifier.shortened({"a": source}, ["a"])["a"].partition("def _")[2]
    assert "value" not in minifier.shortened({"a": source}, ())["a"]
    named = source + "def use():\n    return shown(1, unit=2)\n"
    assert re.search(r"def shown\(_\d, unit\)", minifier.shortened({"a": named}, ())["a"])


def test_an_argument_is_no_constant_of_its_module() -> None:
    """MicroPython puts a constant in for its name wherever that stands, an argument's included."""
    constants = "".join(f"_{name} = const({number})\n" for number, name in enumerate("abcdefgh"))
    source = "from micropython import const\n" + constants + "def f(one, two):\n    return one, two, _a\n"
    short = minifier.shortened({"a": source}, ())["a"]
    given = re.search(r"def f\((_\d+), (_\d+)\)", short)
    assert given and not re.search(rf"^({given[1]}|{given[2]}) = ", short, re.M)


def test_lines_of_an_image_are_those_of_its_sources() -> None:
    files = image.sources("host")
    short = minifier.shortened(files, [], bundler.inner())
    for path, source in files.items():
        assert len(short[path].splitlines()) == len(source.splitlines())
        was, now = (list(ast.walk(ast.parse(text))) for text in (source, short[path]))
        assert [type(node) for node in was] == [type(node) for node in now]


@pytest.mark.parametrize("package", [bundler.LIBRARY, bundler.APPLICATION], ids=["lib", "app"])
def test_each_function_of_a_bundle_is_found_again(package: bundler.Package) -> None:
    for file in package.bundles:
        origins = bundler.origins(package, file)
        count = 0
        for number, line in enumerate(bundler.bundle(package)[file].splitlines(), 1):
            if found := re.match(r" *(?:async )?def \w+\(", line):
                origin = origins[number]
                source = (package.folder / f"{origin.module}.py").read_text().splitlines()
                assert found[0].strip() in source[origin.line - 1]
                count += 1
        trees = [package.modules[module] for module in package.bundles[file]]
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert count == sum(isinstance(node, functions) for tree in trees for node in ast.walk(tree))


def test_where_a_line_of_a_traceback_is_written() -> None:
    lines = bundler.bundle()["core"].splitlines()
    number = lines.index("    def poll(self, timeout=0):") + 1
    done = tool("decode-traceback", "core", str(number))
    assert re.fullmatch(r"lib/umqtt5/core/client\.py:\d+, in poll\n", done.stdout), done.stdout + done.stderr
    assert "no line 99999 of core" in tool("decode-traceback", "core", "99999").stderr
