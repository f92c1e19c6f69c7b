"""Runs mypy and pyright, both strict, with the types of CPython or of MicroPython."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tools import lint
from tools.board import definition
from tools.paths import LIB

_UNKNOWN_TYPES = ("reportUnknownVariableType", "reportUnknownMemberType", "reportUnknownArgumentType")


class Report(NamedTuple):
    """An error that a type checker reports."""

    file: str
    line: int
    text: str


def stubs_of_micropython() -> Path:
    """Return the folder of the MicroPython stubs for a board; install them if necessary."""
    return lint.install_stubs(definition.load_board("esp32"))


def run_mypy(folder: Path, micropython: bool, installed: Path | None = None) -> list[Report]:
    """Check the programs in `folder`/programs with `mypy --strict`; return the errors in them.

    `installed` is a Python in which the library is installed, None for the library of this checkout.
    """
    paths = [] if installed else [str(LIB)]
    lines = ["[mypy]", "strict = true", "explicit_package_bases = true", f"cache_dir = {folder / 'mypy'}"]
    if installed:
        lines += [f"python_executable = {installed}"]
    if micropython:
        stubs = stubs_of_micropython()
        lines += ["python_version = 3.12", f"custom_typeshed_dir = {stubs}", "no_site_packages = true"]
        lines += ["ignore_errors = true"]  # the stubs of MicroPython contain errors
        paths.append(str(stubs))
    lines += [f"mypy_path = {':'.join([str(folder), *paths])}"]
    lines += ["[mypy-programs.*,umqtt5.*]", "ignore_errors = false"]
    environment = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    config = folder / "mypy.ini"
    config.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "-p", "programs"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode < 2, done.stdout + done.stderr
    found = re.findall(r"^(?:.*/)?([\w.]+):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return [Report(file, int(line), text) for file, line, text in found]


def run_pyright(folder: Path, micropython: bool, include: Sequence[str] = ("programs",)) -> list[Report]:
    """Check the programs in `folder`/programs with pyright in strict mode; return the errors in them."""
    config: dict[str, object] = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.12" if micropython else "3.10",
        "include": list(include),
        "extraPaths": [str(LIB)],
    }
    if micropython:
        stubs = str(stubs_of_micropython())
        config.update(typeshedPath=stubs, stubPath=stubs, reportMissingModuleSource="none")
        # they have no module `_io`, so the result of `open` is unknown
        config.update(dict.fromkeys(_UNKNOWN_TYPES, "none"))
    path = folder / "pyrightconfig.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "pyright", "--outputjson", "-p", str(path)]
    # without this variable pyright asks a server for its newest version
    environment = dict(os.environ, PYRIGHT_PYTHON_IGNORE_WARNINGS="1")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode < 2, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["summary"]["filesAnalyzed"], done.stdout
    return [
        Report(Path(found["file"]).name, found["range"]["start"]["line"] + 1, found["message"])
        for found in result["generalDiagnostics"]
    ]
