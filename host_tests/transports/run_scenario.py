"""Run a function of a program of scenarios in a process of its own, on CPython or in the MicroPython VM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import broker
from tools.paths import LIB
from tools.vm import process

SCENARIOS = Path(__file__).parent / "scenarios.py"

on_each_interpreter = pytest.mark.parametrize("interpreter", ["cpython", "vm"])


def start(
    interpreter: str,
    name: str,
    address: broker.Address | None,
    pass_fds: tuple[int, ...] = (),
    program: Path = SCENARIOS,
    **options: object,
) -> subprocess.Popen[str]:
    """Start a scenario of `program` with these options; its output is in the `stdout` of the process.

    `interpreter` is "cpython", "vm", or the path of another Python.
    """
    if address:
        options.setdefault("host", address.host)
        options.setdefault("port", address.port)
    command = [sys.executable if interpreter == "cpython" else interpreter, "-u"]
    environment = dict(os.environ, PYTHONPATH=str(LIB), MICROPYPATH=f"{LIB}{os.pathsep}.frozen")
    if interpreter == "vm":
        command = [process.find_executable(), "-X", "heapsize=2m"]
    settings = json.dumps(options)
    # the VM does not start with an argument of more than 255 characters
    parts = [settings[i : i + 200] for i in range(0, len(settings), 200)]
    return subprocess.Popen(
        [*command, str(program), name, *parts],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def finish(child: subprocess.Popen[str], name: str) -> str:
    """Wait for the end of a scenario and return its output. Raises AssertionError if the scenario failed."""
    try:
        output, _ = child.communicate(timeout=100)
    finally:
        process.stop_vm(child)
    assert f"done {name}" in output, output
    return output


def run_scenario(
    interpreter: str,
    name: str,
    address: broker.Address | None,
    program: Path = SCENARIOS,
    **options: object,
) -> str:
    """Run a scenario to its end and return its output."""
    return finish(start(interpreter, name, address, program=program, **options), name)
