"""The commands in README and docs/: each target and variable of make, each tool and each file exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.__main__ import _COMMANDS
from tools.paths import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
(VARIABLES,) = re.findall(r"^VARIABLES := (.*)$", MAKEFILE, re.MULTILINE)
PAGES = [
    *(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),
    *(ROOT / "docs").rglob("*.md"),
    ROOT / "examples" / "README.md",
]
# a line of a block of commands, or code in a sentence
_CODE = re.compile(r"`([^`\n]+)`|^(?: {4,}|)([a-zA-Z_.$]\S* .*)$", re.MULTILINE)


def commands(page: Path, program: str) -> list[str]:
    """Return the command lines of a page that begin with `program`, without comments."""
    lines = [one or other for one, other in _CODE.findall(page.read_text(encoding="utf-8"))]
    return [line.split(" #")[0] for line in lines if line.startswith(program + " ")]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_make_command_has_a_target_and_known_variables(page: Path) -> None:
    for line in commands(page, "make"):
        words = re.sub(r"\"[^\"]*\"|'[^']*'", "", line).split()[1:]
        known = [word for word in words if word in TARGETS]
        assert known or any(word.isupper() or "=" in word for word in words), line
        for name in re.findall(r"\b([A-Z_]{2,})=", " ".join(words)):
            # MicroPython's own build has other variables
            assert name in VARIABLES.split() or "FROZEN_MANIFEST" in line, line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_tool_exists(page: Path) -> None:
    for program in ("python -m tools", ".venv/bin/python -m tools"):
        for line in commands(page, program):
            word = line[len(program) :].split()[0]
            assert word in _COMMANDS or word.isupper(), line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_example_that_a_command_runs_exists(page: Path) -> None:
    for name in re.findall(r"examples/(\w+\.py)", page.read_text(encoding="utf-8")):
        assert (ROOT / "examples" / name).exists(), name


def test_commands_are_found() -> None:
    assert sum(len(commands(page, "make")) for page in PAGES) > 100
    assert sum(len(commands(page, "python -m tools")) for page in PAGES) > 3
