"""The checks of the attacks see what they must see."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from host_tests.attack.checks import find_faults
from host_tests.attack.hostile_text import TERMINAL_TEXTS
from host_tests.attack.sandbox import Sandbox, make_sandbox
from host_tests.attack.terminal import Run, run_in_terminal


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return make_sandbox(tmp_path)


def run_program(sandbox: Sandbox, program: str, deadline: float = 20, **options: float) -> list[str]:
    """Run a Python program under attack conditions, and return the faults."""
    before = sandbox.snapshot()
    run = run_in_terminal(
        [sys.executable, "-c", program],
        sandbox.work,
        sandbox.environment,
        deadline=deadline,
        interrupt_after=options.get("interrupt_after"),
    )
    return find_faults(run, before, sandbox.snapshot(), secrets=("hunter2",))


def test_a_program_that_does_no_harm_has_no_faults(sandbox: Sandbox) -> None:
    program = "open('mine', 'w').write('x'); print('\\x1b[31mred\\x1b[0m \\x1b[2K\\x1b[1A', flush=True)"
    assert run_program(sandbox, program) == []


@pytest.mark.parametrize(
    ("program", "fault"),
    (
        ("open('../home/.bashrc', 'a').write('x')", "home/.bashrc: "),
        ("open('link/new', 'w')", "outside/new: absent became"),
        ("import os; os.remove('../neighbour/update.key')", "neighbour/update.key: "),
        ("import os; os.chmod('../outside/folder', 0o700)", "outside/folder: "),
        ("open('../tmp/left', 'w')", "tmp/left: absent became"),
        ("print('hunter2')", "printed the secret"),
        ("raise ValueError", "printed 'Traceback"),
        ("exit(3)", "exit code 3"),
        ("import os; os.abort()", "exit code -6"),
        ("print('\\x07')", "control characters"),
        ("print('\\u202e')", "control characters"),
        ("print('\\x9b31m')", "control characters"),
        ("print('\\x1b[5n')", "control characters"),
    ),
)
def test_a_program_that_does_harm_is_found(sandbox: Sandbox, program: str, fault: str) -> None:
    assert any(one.startswith(fault) or fault in one for one in run_program(sandbox, program))


def test_a_program_that_does_not_end_is_found(sandbox: Sandbox) -> None:
    program = "import signal, time; signal.signal(signal.SIGHUP, signal.SIG_IGN); time.sleep(60)"
    assert any("did not end" in one for one in run_program(sandbox, program, deadline=0.5))


def test_ctrl_c_ends_a_program(sandbox: Sandbox) -> None:
    program = """
import time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    exit(130)
"""
    assert run_program(sandbox, program, interrupt_after=2.0) == []


@pytest.mark.parametrize("text", TERMINAL_TEXTS[:3])
@pytest.mark.parametrize("uses_textual", (False, True))
def test_control_sequences_of_an_attacker_are_found(text: str, uses_textual: bool) -> None:
    run = Run(0, text.encode(), 1.0)
    assert find_faults(run, {}, {}, uses_textual=uses_textual)
