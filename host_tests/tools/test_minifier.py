"""Shortened names on a board: programs behave the same, and traceback lines map to the sources."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import types

import pytest

from host_tests.tools.test_tools import run_tool
from tools.bundle import bundler, image, minifier, package_tree, source_lines
from tools.paths import ROOT

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

    def texts(self, *, prefix):
        return [prefix + text for text in self._trace]


class Dimmed(_Lamp):
    def __init__(self, level, maximum):
        super().__init__(level)
        self._maximum = maximum

    def up(self, step=1):
        self._level = min(_Lamp.up(self, step), self._maximum, _LIMIT)
        return self._level


def _options(first, second=2):
    return first * second


def main(level):
    lamp = Dimmed(level, 7)
    other.Watch(lamp).look(lamp)
    lamp._hidden = 3  # set from outside
    steps = [lamp.up(step=2) for step in range(3)]
    values = [getattr(lamp, "_maximum"), lamp._hidden, lamp._made]
    arguments = {"first": 3, "second": 4}
    inner = lambda level: level + lamp._level
    return steps, lamp.texts(prefix="n"), values, _options(**arguments), inner(level), lamp.level(1)
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
    """Import the modules of a program and return the result of its `main`."""
    try:
        for name, source in files.items():
            module = types.ModuleType(name)
            sys.modules[name] = module
            exec(compile(source, name, "exec"), module.__dict__)
        return sys.modules["lamps"].__dict__["main"](1)
    finally:
        for name in files:
            sys.modules.pop(name, None)


def test_a_program_with_short_names_returns_the_same_result() -> None:
    files = {"other": OTHER, "lamps": LAMPS}
    short = minifier.shorten_names(files)
    assert run(short) == run(files)
    left = set(re.findall(r"\b_[a-z]\w+", "".join(short.values())))
    assert left == {"_maximum"}  # not shortened, because it also occurs in a string


def test_names_used_together_have_different_short_names_and_others_share_them() -> None:
    table = minifier.map_names({"other": OTHER, "lamps": LAMPS})
    together = ["_level", "_trace", "_note", "_made", "_hidden"]
    assert len({table[name] for name in together}) == len(together)
    many = "\n".join(f"class C{n}:\n    def _name_{n}(self):\n        pass\n" for n in range(200))
    assert len(set(minifier.map_names({"many": many}).values())) < 70
    device = minifier.map_names(image.collect_sources("host"))
    assert len(device) > 500 and len(device) > 6.3 * len(set(device.values()))


def test_the_lines_and_syntax_trees_of_an_image_match_its_sources() -> None:
    files = image.collect_sources("host")
    short = minifier.shorten_names(files, minifier.internal_names() | minifier.application_names())
    for path, source in files.items():
        assert len(short[path].splitlines()) == len(source.splitlines())
        before, after = (list(ast.walk(ast.parse(text))) for text in (source, short[path]))
        assert [type(node) for node in before] == [type(node) for node in after]


@pytest.mark.parametrize("package", [package_tree.LIBRARY, package_tree.APPLICATION], ids=["lib", "app"])
def test_each_function_of_a_bundle_maps_to_its_source_line(package: package_tree.Package) -> None:
    for file in package.bundles:
        origins = source_lines.map_source_lines(package, file)
        count = 0
        for number, line in enumerate(bundler.bundle_sources(package)[file].splitlines(), 1):
            if found := re.match(r" *(?:async )?def \w+\(", line):
                origin = origins[number]
                source = (package.folder / f"{origin.module}.py").read_text().splitlines()
                assert found[0].strip() in source[origin.line - 1]
                count += 1
        trees = [package.modules[module] for module in package.bundles[file]]
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert count == sum(isinstance(node, functions) for tree in trees for node in ast.walk(tree))


def test_decode_traceback_prints_the_source_line_and_function() -> None:
    lines = bundler.bundle_sources()["core"].splitlines()
    number = lines.index("    def poll(self, timeout=0):") + 1
    done = run_tool("decode-traceback", "core", str(number))
    assert re.fullmatch(r"lib/umqtt5/core/client\.py:\d+, in poll\n", done.stdout), done.stdout + done.stderr
    assert "core: line 99999 has no source" in run_tool("decode-traceback", "core", "99999").stderr


def test_names_in_the_examples_of_the_documents_are_never_shortened() -> None:
    blocks = [
        block
        for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
        for block in re.findall(r"```python[^\n]*\n(.*?)```", path.read_text(), re.DOTALL)
    ]
    used = set(re.findall(r"\b[a-z]\w+", "\n".join(blocks)))
    assert {"publish", "is_connected"} <= used
    assert used & minifier.internal_names() == set()


def test_names_of_the_application_that_others_use_are_never_shortened() -> None:
    """Names of hardware objects, of the files that only a cable replaces, and of the library."""
    shortened = minifier.application_names()
    assert {"enter_safe_state", "state_version"} <= shortened
    modules = ROOT / "host_tests" / "simulated_hardware" / "modules"
    others = [*modules.glob("*.py"), *(ROOT / "boards").rglob("*.py"), *(ROOT / "lib").rglob("*.py")]
    others += [
        ROOT / "firmware" / name for name in ("boot.py", "main.py", "slot.py", "archive.py", "rollback.py")
    ]
    for path in others:
        used = {
            node.attr if isinstance(node, ast.Attribute) else node.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, (ast.Attribute, ast.FunctionDef, ast.ClassDef))
        }
        assert used & shortened == set(), path


def test_an_image_is_the_same_in_each_process() -> None:
    """An update sends only files that differ, so a file must not depend on the hash seed."""
    code = (
        "import hashlib\n"
        "from tools.bundle import image, minifier\n"
        "internal = minifier.internal_names() | minifier.application_names()\n"
        "files = minifier.shorten_names(image.collect_sources('esp32'), internal)\n"
        "print(hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1
