"""The blocking client with mosquitto: limits, access control list, SCRAM authentication, restarts."""

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
        "the_broker_drops_messages_above_our_maximum_packet_size",
        "a_session_taken_over_is_reported",
        "each_overlapping_subscription_calls_its_handler_once",
        "a_shared_subscription_divides_the_messages",
        "an_expired_message_is_not_delivered",
        "payloads_larger_than_the_buffers_are_streamed",
    ],
)
def test_scenario_with_the_default_configuration(
    name: str, interpreter: str, mosquitto: broker.Address
) -> None:
    run_scenario(interpreter, name, mosquitto)


@on_each_interpreter
def test_the_brokers_receive_maximum_is_obeyed(interpreter: str) -> None:
    with broker.Mosquitto("max_inflight_messages 3") as limited:
        run_scenario(interpreter, "the_brokers_receive_maximum_is_obeyed", limited.address)


@on_each_interpreter
def test_a_message_refused_by_the_access_control_list_is_reported(interpreter: str, tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite open/#\n")
    with broker.Mosquitto(f"acl_file {acl}") as limited:
        run_scenario(interpreter, "not_authorized_is_reported", limited.address)


@on_each_interpreter
def test_scram_authenticates_and_refuses_a_wrong_user_or_password(interpreter: str) -> None:
    if not scram_plugin.can_be_built():
        pytest.skip("mosquitto-dev, libmosquitto-dev, libssl-dev or gcc is not installed")
    lines = (f"plugin {scram_plugin.build()}", "plugin_opt_user tester", "plugin_opt_password pencil")
    with broker.Mosquitto(*lines, anonymous=False) as with_scram:
        run_scenario(interpreter, "scram_authenticates_and_reauthenticates", with_scram.address)
        output = run_scenario(interpreter, "scram_refuses_a_wrong_user_or_password", with_scram.address)
    assert output.count("refused 0x87") == 2


@on_each_interpreter
@pytest.mark.parametrize(
    "name",
    ["a_persistent_session_survives_a_broker_restart", "a_session_lost_by_the_broker_is_subscribed_again"],
)
def test_the_client_recovers_from_a_broker_restart(name: str, interpreter: str, tmp_path: Path) -> None:
    """With persistence, mosquitto 2.0 saves the sessions of offline clients when it shuts down."""
    persistent = name == "a_persistent_session_survives_a_broker_restart"
    lines = ("persistence true", f"persistence_location {tmp_path}/") if persistent else ()
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
        output = []
        assert child.stdout
        for line in child.stdout:
            output.append(line.strip())
            if line.startswith("restart"):
                restarted.stop(graceful=persistent)  # a graceful shutdown saves the sessions
                restarted.start()
        killer.cancel()
        child.wait(10)
    assert output[-1] == f"done {name}", output
