"""One set of scenarios, two interpreters, real brokers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from host_tests.vms import run_64
from tools import broker
from tools.paths import LIB

SCENARIOS = Path(__file__).parent / "scenarios.py"

ALL_BROKER_SCENARIOS = [
    "messages_of_both_qos_come_back",
    "aliases_save_bytes_and_change_nothing",
    "retained_messages_and_unsubscribe",
    "the_will_speaks_when_the_client_is_gone",
    "properties_arrive_whole_and_in_order",
    "aliases_of_the_broker_are_understood",
    "a_flood_arrives_in_order",
    "qos_2_arrives_once_and_in_order",
    "messages_as_large_as_the_buffer",
    "a_cut_link_comes_back_and_loses_nothing",
    "a_silent_link_is_kept_alive",
    "without_a_client_id_the_broker_gives_one",
    "a_handler_may_publish",
    "requests_are_answered",
    "a_reconnect_does_not_end_requests",
]


def run_scenario(interpreter: str, name: str, address: broker.Address) -> str:
    """Run a scenario to its end; returns what it printed."""
    arguments = [str(SCENARIOS), address.host, str(address.port), name]
    if address.user is not None:
        arguments += [address.user, address.password or ""]
    if interpreter == "vm":
        output = run_64(arguments, [LIB], heap="256k")
    else:
        environment = dict(os.environ, PYTHONPATH=str(LIB))
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=60, env=environment
        )
        output = done.stdout + done.stderr
    assert f"done {name}" in output, output
    return output


on_each_interpreter = pytest.mark.parametrize("interpreter", ["cpython", "vm"])


@on_each_interpreter
@pytest.mark.parametrize("name", ALL_BROKER_SCENARIOS)
def test_scenario(name: str, interpreter: str, any_broker_with_ejabberd: broker.Address) -> None:
    run_scenario(interpreter, name, any_broker_with_ejabberd)


# iotcore keeps no sessions and knows no subscription options
@on_each_interpreter
@pytest.mark.parametrize("choice", ["mosquitto", "ejabberd"])
@pytest.mark.parametrize(
    "name",
    ["qos_2_over_cut_links_is_exactly_once", "subscription_options_are_kept", "disconnect_with_will"],
)
def test_with_brokers_that_keep_sessions(
    name: str, choice: str, interpreter: str, request: pytest.FixtureRequest
) -> None:
    run_scenario(interpreter, name, request.getfixturevalue(choice))


def test_nothing_is_allocated_per_message(any_broker: broker.Address) -> None:
    run_scenario("vm", "nothing_is_allocated_per_message", any_broker)


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


@on_each_interpreter
def test_the_limits_of_mosquitto_are_obeyed(interpreter: str, mosquitto: object) -> None:
    limits = (
        "max_qos 1",
        "max_topic_alias 3",
        "retain_available false",
        "max_keepalive 30",
        "max_packet_size 200",
    )
    with broker.Mosquitto(*limits) as limited:
        run_scenario(interpreter, "the_limits_of_mosquitto_are_obeyed", limited.address)
