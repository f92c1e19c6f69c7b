"""mosquitto in its configurations: each has a scenario that fails where the client ignores it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from host_tests.broker import scram_plugin
from host_tests.broker.test_brokers import SCENARIOS, interpreters, play
from host_tests.conftest import NO_MOSQUITTO
from tools import broker
from tools.paths import LIB
from tools.vm import process as vm

pytestmark = pytest.mark.skipif(not broker.find_mosquitto(), reason=NO_MOSQUITTO)


@interpreters
@pytest.mark.parametrize(
    "name",
    [
        "a_message_too_large_for_us_does_not_come",
        "a_second_client_takes_over",
        "several_subscriptions_and_their_numbers",
        "shared_subscriptions_share",
        "an_expired_message_does_not_come",
        "payloads_larger_than_the_buffers",
    ],
)
def test_as_it_is(name: str, interpreter: str, mosquitto: broker.Address) -> None:
    play(interpreter, name, mosquitto)


@interpreters
def test_its_receive_maximum(interpreter: str) -> None:
    with broker.Mosquitto("max_inflight_messages 3") as limited:
        play(interpreter, "a_window_of_the_brokers", limited.address)


@interpreters
def test_an_access_list(interpreter: str, tmp_path: Path) -> None:
    access = tmp_path / "access"
    access.write_text("topic readwrite open/#\n")
    with broker.Mosquitto(f"acl_file {access}") as limited:
        play(interpreter, "what_is_not_allowed_is_told", limited.address)


@interpreters
def test_scram(interpreter: str) -> None:
    if not scram_plugin.can_be_built():
        pytest.skip("mosquitto-dev, libmosquitto-dev, libssl-dev and gcc are not all here")
    lines = (f"plugin {scram_plugin.build()}", "plugin_opt_user tester", "plugin_opt_password pencil")
    with broker.Mosquitto(*lines, anonymous=False) as proving:
        play(interpreter, "scram_proves_both_sides", proving.address)
        output = play(interpreter, "a_wrong_password_is_no_proof", proving.address)
    assert output.count("refused 0x87") == 2


@interpreters
@pytest.mark.parametrize("name", ["a_session_that_outlives_the_broker", "a_session_that_the_broker_has_lost"])
def test_a_restart(name: str, interpreter: str, tmp_path: Path) -> None:
    """mosquitto 2.0 keeps the sessions of clients that were away when it ended, where it keeps any."""
    keeps = name == "a_session_that_outlives_the_broker"
    lines = ("persistence true", f"persistence_location {tmp_path}/") if keeps else ()
    with broker.Mosquitto(*lines) as restarted:
        arguments = [str(SCENARIOS), restarted.address.host, str(restarted.address.port), name]
        if interpreter == "vm":
            process = vm.start(arguments, path=[LIB], heap="256k")
        else:
            environment = dict(os.environ, PYTHONPATH=str(LIB))
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
            )
        killer = threading.Timer(60, process.kill)
        killer.start()
        said = []
        assert process.stdout
        for line in process.stdout:
            said.append(line.strip())
            if line.startswith("restart"):
                restarted.stop(gently=keeps)  # it writes what it keeps when it ends in good order
                restarted.start()
        killer.cancel()
        process.wait(10)
    assert said[-1] == f"done {name}", said
