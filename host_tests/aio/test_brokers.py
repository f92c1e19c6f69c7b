"""The asyncio client with iotcore and mosquitto, on CPython and in the MicroPython VM, and its heap use."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
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
    "messages_of_each_qos_arrive",
    "many_tasks_publish_at_once",
    "a_full_queue_drops_by_overflow_policy",
    "requests_receive_their_responses",
    "a_message_loop_may_request_for_each_message",
    "cancellation_keeps_state_consistent",
    "an_exception_ends_only_its_task",
    "a_cancelled_task_disconnects_and_leaves_nothing_behind",
    "pings_keep_an_idle_link_open",
    "coroutine_handlers_get_copies",
    "a_generator_function_runs_on_micropython",
    "connects_cancelled_at_any_step_leave_nothing_behind",
]


# how the first event loop ends, see event_loops.py
EVENT_LOOP_ENDINGS = ["disconnected", "connected", "waiting", "connecting", "raised", "interrupted"]


def start(
    interpreter: str, name: str, address: broker.Address, path: Path, heap: str, program: Path = SCENARIOS
) -> subprocess.Popen[str]:
    arguments = [str(program), address.host, str(address.port), *name.split()]
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
    on_first_line: Callable[[], None] | None = None,
    program: Path = SCENARIOS,
) -> str:
    """Run a coroutine of `scenarios.py` to its end and return its output.

    Calls `on_first_line()` when the scenario has printed a line.
    """
    child = start(interpreter, name, address, path, heap, program)
    try:
        first_line = ""
        if on_first_line:
            assert child.stdout
            first_line = child.stdout.readline()
            on_first_line()
        output, _ = child.communicate(timeout=100)
    finally:
        process.stop_vm(child)
    output = first_line + output
    # CPython prints a warning for each task and socket that is not closed
    assert f"done {name.split()[0]}" in output and "Warning" not in output and "never" not in output, output
    return output


on_each_interpreter = pytest.mark.parametrize("interpreter", ["cpython", "vm"])


@on_each_interpreter
@pytest.mark.parametrize("name", ALL_BROKER_SCENARIOS)
def test_scenario(name: str, interpreter: str, any_broker: broker.Address) -> None:
    run_scenario(interpreter, name, any_broker)


@on_each_interpreter
def test_a_slow_consumer_loses_nothing_with_overflow_wait(
    interpreter: str, mosquitto: broker.Address
) -> None:
    run_scenario(interpreter, "a_slow_consumer_loses_nothing_with_overflow_wait", mosquitto)


@on_each_interpreter
def test_lost_links_lose_no_message(interpreter: str, mosquitto: broker.Address) -> None:
    # the scenario keeps every number in a list; on a slow machine it sends more numbers
    run_scenario(interpreter, "lost_links_lose_no_message", mosquitto, heap="2m")


@on_each_interpreter
def test_a_loop_continues_after_a_broker_restart(interpreter: str, mosquitto: object) -> None:
    with broker.Mosquitto() as restarted:

        def restart() -> None:
            restarted.stop()
            restarted.start()

        run_scenario(
            interpreter, "a_loop_continues_after_a_broker_restart", restarted.address, on_first_line=restart
        )


def serve(stack: contextlib.ExitStack, state: str) -> int:
    """Start a server that leaves a client in `state`; returns its port. `closed` has no server."""
    if state == "closed":
        return broker.free_port()
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    port: int = server.getsockname()[1]
    if state == "opening":
        for _ in range(8):  # fill the backlog, so that the kernel accepts no more connections
            probe = stack.enter_context(socket.socket())
            probe.setblocking(False)
            probe.connect_ex(server.getsockname())
        return port

    def answer() -> None:
        success, refusal = b"\x20\x03\x00\x00\x00", b"\x20\x03\x00\x87\x00"
        connack = {"silent": success, "stalled": success, "refusing": refusal}
        while True:
            try:
                connection = stack.enter_context(server.accept()[0])
                connection.recv(1000)
                connection.sendall(connack.get(state, b""))
                while state != "stalled" and connection.recv(1000):
                    pass
            except OSError:
                return  # the test has ended

    threading.Thread(target=answer, daemon=True).start()
    return port


@on_each_interpreter
@pytest.mark.parametrize("state", ["closed", "opening", "no_connack", "silent", "stalled", "refusing"])
def test_timeouts_hold_on_real_sockets(state: str, interpreter: str) -> None:
    with contextlib.ExitStack() as stack:
        address = broker.Address("127.0.0.1", serve(stack, state))
        run_scenario(interpreter, state, address, program=SCENARIOS.with_name("real_timeouts.py"))


@on_each_interpreter
@pytest.mark.parametrize("ending", EVENT_LOOP_ENDINGS)
def test_a_client_works_in_a_second_event_loop(
    ending: str, interpreter: str, mosquitto: broker.Address
) -> None:
    run_scenario(interpreter, ending, mosquitto, program=SCENARIOS.with_name("event_loops.py"))


@on_each_interpreter
def test_subscriptions_of_an_earlier_program_are_removed(
    interpreter: str, mosquitto: broker.Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # for the file of the scenario
    run_scenario(interpreter, "subscriptions_of_an_earlier_program_are_removed", mosquitto)


@on_each_interpreter
def test_a_hanging_connect_attempt_times_out(interpreter: str, mosquitto: broker.Address) -> None:
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # fill the backlog, so that the kernel accepts no more connections
            probe = stack.enter_context(socket.socket())
            probe.setblocking(False)
            probe.connect_ex(silent.getsockname())
        run_scenario(interpreter, f"a_hanging_connect_attempt_times_out {silent.getsockname()[1]}", mosquitto)


@on_each_interpreter
def test_connect_raises_if_nothing_listens(interpreter: str) -> None:
    run_scenario(
        interpreter, "connect_raises_if_nothing_listens", broker.Address("127.0.0.1", broker.free_port())
    )


@on_each_interpreter
def test_a_wrong_password_raises_the_reason_code_and_its_name(
    interpreter: str, tmp_path: Path, mosquitto: object
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    with broker.Mosquitto(f"password_file {passwords}", anonymous=False) as strict:
        output = run_scenario(interpreter, "connect_raises_the_brokers_refusal", strict.address)
    assert "reason 0x87" in output and "Not authorized (0x87)" in output


def test_an_idle_client_allocates_nothing_and_wakes_only_for_its_deadlines(
    any_broker: broker.Address,
) -> None:
    output = run_scenario("vm", "an_idle_client_allocates_nothing", any_broker)
    results = {
        int(k): (int(t), int(h), int(r)) for k, t, h, r in re.findall(r"idle (\d+) (\S+) (\S+) (\d+)", output)
    }
    assert results[60] == (0, 0, 0)  # in 10 s no byte was allocated and the client did not wake up
    _, held, rounds = results[4]
    # the client wakes up to four times per ping: when the ping is due, when the response arrives, and once
    # after each of these. asyncio allocates memory for this, but none of it stays in use
    assert held == 0 and 8 <= rounds <= 20


def test_the_compiled_client_runs_in_a_small_heap(mosquitto: broker.Address, tmp_path: Path) -> None:
    compile_package(tmp_path)
    program = (SCENARIOS.parent / "small_heap.py").read_text()
    (tmp_path / "small_heap.mpy").write_bytes(cross_compile("small_heap", program))
    code = f"import small_heap; small_heap.main({mosquitto.host!r}, {mosquitto.port}, 1024)"
    output = run_64(["-c", code], [tmp_path], heap="100k")  # documented in docs/asyncio.md
    assert "done small" in output
