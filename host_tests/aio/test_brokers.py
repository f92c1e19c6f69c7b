"""The client under asyncio with real brokers, on CPython and in the VM, there also as it goes to a board."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tests.vms import run_64
from tools import broker
from tools.bundle.compiler import compile_package, cross_compile
from tools.paths import LIB
from tools.vm import process

SCENARIOS = Path(__file__).parent / "scenarios.py"

ALL_BROKER_SCENARIOS = [
    "messages_of_each_qos_come_back",
    "many_publish_at_once",
    "a_full_queue_drops_by_policy",
    "requests_are_answered",
    "a_loop_may_request_for_each_message",
    "cancellation_keeps_state_consistent",
    "an_exception_ends_its_task_only",
    "leaving_by_a_cancellation_is_clean",
    "a_silent_link_is_kept_alive",
]


def start(
    interpreter: str, name: str, address: broker.Address, path: Path, heap: str
) -> subprocess.Popen[str]:
    arguments = [str(SCENARIOS), address.host, str(address.port), *name.split()]
    if interpreter == "vm":
        return process.start_vm(arguments, module_path=[path], heap=heap)
    return subprocess.Popen(
        [sys.executable, "-X", "dev", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(path)),
    )


def run_scenario(
    interpreter: str,
    name: str,
    address: broker.Address,
    path: Path = LIB,
    heap: str = "256k",
    on_word: Callable[[], None] | None = None,
) -> str:
    """Run a scenario to its end; returns what it printed. `on_word` is called when it says a line first."""
    child = start(interpreter, name, address, path, heap)
    try:
        said = ""
        if on_word:
            assert child.stdout
            said = child.stdout.readline()
            on_word()
        output, _ = child.communicate(timeout=60)
    finally:
        process.stop_vm(child)
    output = said + output
    # CPython tells of tasks and sockets that were left behind
    assert f"done {name.split()[0]}" in output and "Warning" not in output and "never" not in output, output
    return output


on_each_interpreter = pytest.mark.parametrize("interpreter", ["cpython", "vm"])


@on_each_interpreter
@pytest.mark.parametrize("name", ALL_BROKER_SCENARIOS)
def test_scenario(name: str, interpreter: str, any_broker: broker.Address) -> None:
    run_scenario(interpreter, name, any_broker)


@on_each_interpreter
def test_a_slow_consumer_loses_nothing_with_wait(interpreter: str, mosquitto: broker.Address) -> None:
    run_scenario(interpreter, "a_slow_consumer_loses_nothing_with_wait", mosquitto)


@on_each_interpreter
def test_cut_links_lose_nothing(interpreter: str, mosquitto: broker.Address) -> None:
    # the scenario keeps each number, and there are more of them the slower the machine is
    run_scenario(interpreter, "cut_links_lose_nothing", mosquitto, heap="2m")


@on_each_interpreter
def test_the_broker_restarts_in_the_middle_of_a_loop(interpreter: str, mosquitto: object) -> None:
    with broker.Mosquitto() as restarted:

        def restart() -> None:
            restarted.stop()
            restarted.start()

        run_scenario(interpreter, "the_broker_restarts", restarted.address, on_word=restart)


@on_each_interpreter
def test_a_try_that_hangs_is_given_up(interpreter: str, mosquitto: broker.Address) -> None:
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # fill its queue: what comes now gets no answer
            probe = stack.enter_context(socket.socket())
            probe.setblocking(False)
            probe.connect_ex(hole.getsockname())
        run_scenario(interpreter, f"a_try_that_hangs_is_given_up {hole.getsockname()[1]}", mosquitto)


@on_each_interpreter
def test_nobody_at_the_port(interpreter: str) -> None:
    run_scenario(interpreter, "nobody_at_the_port", broker.Address("127.0.0.1", broker.free_port()))


@on_each_interpreter
def test_a_wrong_password_is_refused_by_name(interpreter: str, tmp_path: Path, mosquitto: object) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    with broker.Mosquitto(f"password_file {passwords}", anonymous=False) as strict:
        output = run_scenario(interpreter, "the_broker_refuses", strict.address)
    assert "reason 0x87 Not authorized (0x87)" in output


def test_idle_it_allocates_nothing_and_wakes_for_its_deadlines(any_broker: broker.Address) -> None:
    output = run_scenario("vm", "idle_allocates_nothing", any_broker)
    found = {
        int(k): (int(t), int(h), int(r)) for k, t, h, r in re.findall(r"idle (\d+) (\S+) (\S+) (\d+)", output)
    }
    assert found[60] == (0, 0, 0)  # in ten seconds not a byte, and not one round
    _, held, rounds = found[1]
    # each ping: its deadline, the round behind it, the answer, the round behind that. What is left of
    # it is nothing; asyncio's own calls borrow some heap and give it back
    assert held == 0 and 8 <= rounds <= 20


def test_it_runs_in_a_small_heap_as_it_goes_to_a_board(mosquitto: broker.Address, tmp_path: Path) -> None:
    compile_package(tmp_path)
    program = (SCENARIOS.parent / "small_heap.py").read_text()
    (tmp_path / "small_heap.mpy").write_bytes(cross_compile("small_heap", program))
    code = f"import small_heap; small_heap.main({mosquitto.host!r}, {mosquitto.port}, 1024)"
    output = run_64(["-c", code], [tmp_path], heap="84k")  # README and docs/asyncio.md say so
    assert "done small" in output
