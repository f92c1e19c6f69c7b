"""mosquitto in its configurations: each has a scenario that fails where the client ignores it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from host_tests.broker import scram_plugin
from host_tests.broker.test_brokers import SCENARIOS, on_each_interpreter, run_scenario
from host_tests.conftest import NO_MOSQUITTO
from tools import broker
from tools.paths import LIB
from tools.vm import process

pytestmark = pytest.mark.skipif(not broker.find_mosquitto(), reason=NO_MOSQUITTO)


@on_each_interpreter
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
def test_default_configuration(name: str, interpreter: str, mosquitto: broker.Address) -> None:
    run_scenario(interpreter, name, mosquitto)


@on_each_interpreter
def test_small_receive_maximum_of_the_broker(interpreter: str) -> None:
    with broker.Mosquitto("max_inflight_messages 3") as limited:
        run_scenario(interpreter, "the_brokers_receive_maximum", limited.address)


@on_each_interpreter
def test_an_access_list(interpreter: str, tmp_path: Path) -> None:
    access = tmp_path / "access"
    access.write_text("topic readwrite open/#\n")
    with broker.Mosquitto(f"acl_file {access}") as limited:
        run_scenario(interpreter, "not_authorized_is_reported", limited.address)


@on_each_interpreter
def test_scram(interpreter: str) -> None:
    if not scram_plugin.can_be_built():
        pytest.skip("mosquitto-dev, libmosquitto-dev, libssl-dev and gcc are not all here")
    lines = (f"plugin {scram_plugin.build()}", "plugin_opt_user tester", "plugin_opt_password pencil")
    with broker.Mosquitto(*lines, anonymous=False) as proving:
        run_scenario(interpreter, "scram_proves_both_sides", proving.address)
        output = run_scenario(interpreter, "a_wrong_password_is_no_proof", proving.address)
    assert output.count("refused 0x87") == 2


@on_each_interpreter
@pytest.mark.parametrize("name", ["a_session_that_outlives_the_broker", "a_session_that_the_broker_has_lost"])
def test_broker_restart(name: str, interpreter: str, tmp_path: Path) -> None:
    """mosquitto 2.0 keeps the sessions of clients that were away when it ended, where it keeps any."""
    keeps = name == "a_session_that_outlives_the_broker"
    lines = ("persistence true", f"persistence_location {tmp_path}/") if keeps else ()
    with broker.Mosquitto(*lines) as restarted:
        arguments = [str(SCENARIOS), restarted.address.host, str(restarted.address.port), name]
        if interpreter == "vm":
            child = process.start_vm(arguments, module_path=[LIB], heap="256k")
        else:
            environment = dict(os.environ, PYTHONPATH=str(LIB))
            child = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
            )
        killer = threading.Timer(60, child.kill)
        killer.start()
        said = []
        assert child.stdout
        for line in child.stdout:
            said.append(line.strip())
            if line.startswith("restart"):
                restarted.stop(graceful=keeps)  # it writes what it keeps when it ends in good order
                restarted.start()
        killer.cancel()
        child.wait(10)
    assert said[-1] == f"done {name}", said
