"""A project of a user: mypy and pyright with the settings in docs/types.md and the installed wheel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from host_tests.types.checkers import stubs_of_micropython
from tools.paths import LIB, ROOT

PAGE = (ROOT / "docs" / "types.md").read_text()
PROGRAM = """
import machine

from umqtt5 import Client, Message

client = Client("broker.local")


@client.on("lamp/set", qos=1)
def switch(message: Message) -> None:
    machine.Pin(4, machine.Pin.OUT).value(message.equals(b"ON"))
"""
WRONG = "client.publish('a', 5)\n"


@pytest.fixture
def project(python: Path, tmp_path: Path) -> Path:
    """A folder with a virtual environment that has the wheel, and with the stubs of MicroPython."""
    (tmp_path / ".venv").symlink_to(python.parent.parent)
    (tmp_path / "typings").symlink_to(stubs_of_micropython())
    return tmp_path


def run(project: Path, *command: str) -> list[str]:
    """Run a type checker in the project; return its errors."""
    environment = dict(os.environ, PYRIGHT_PYTHON_IGNORE_WARNINGS="1")
    for name in ("MYPYPATH", "PYTHONPATH"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=project, env=environment, capture_output=True, text=True
    )
    found = [line for line in done.stdout.splitlines() if "error:" in line or " - error" in line]
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return found


@pytest.mark.parametrize(("program", "count"), [(PROGRAM, 0), (PROGRAM + WRONG, 1)], ids=["right", "wrong"])
def test_pyright_checks_the_project(program: str, count: int, project: Path) -> None:
    config = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[1]
    (project / "pyrightconfig.json").write_text(config)
    (project / "main.py").write_text(program)
    errors = run(project, "pyright")
    assert all(f"main.py:{len(program.splitlines())}:" in error for error in errors)
    assert bool(errors) == bool(count)


@pytest.mark.parametrize(("program", "count"), [(PROGRAM, 0), (PROGRAM + WRONG, 1)], ids=["right", "wrong"])
def test_mypy_checks_the_project(program: str, count: int, project: Path) -> None:
    (config,) = re.findall(r"^    \[mypy\]\n.*?(?=^\S)", PAGE, re.MULTILINE | re.DOTALL)
    config = textwrap.dedent(config).replace("/path/to/umqtt5/lib", str(LIB))
    (project / "mypy.ini").write_text(config)
    (project / "main.py").write_text(program)
    assert len(run(project, "mypy", "main.py")) == count
