"""The blocking client with iotcore, mosquitto and ejabberd, on CPython and in the MicroPython VM."""

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
    "messages_of_qos_0_and_1_arrive",
    "topic_aliases_save_bytes_and_keep_the_order",
    "a_retained_message_arrives_and_unsubscribe_stops_messages",
    "the_will_is_published_only_if_the_link_is_lost",
    "properties_arrive_complete_and_in_order",
    "topic_aliases_of_the_broker_are_resolved",
    "five_hundred_messages_arrive_in_order",
    "qos_2_messages_arrive_once_and_in_order",
    "a_message_as_large_as_the_receive_buffer_arrives",
    "a_lost_link_is_restored_without_losing_messages",
    "pings_keep_an_idle_link_open",
    "the_broker_assigns_a_missing_client_id",
    "a_handler_may_publish",
    "requests_receive_their_responses",
    "a_request_succeeds_after_the_link_is_lost",
]


def run_scenario(interpreter: str, name: str, address: broker.Address) -> str:
    """Run a function of `scenarios.py` to its end and return its output. Fails if it does not finish."""
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


# iotcore stores no sessions and implements no subscription options
@on_each_interpreter
@pytest.mark.parametrize("choice", ["mosquitto", "ejabberd"])
@pytest.mark.parametrize(
    "name",
    [
        "qos_2_is_exactly_once_across_lost_links",
        "subscription_options_take_effect",
        "subscriptions_of_an_earlier_program_are_removed",
        "disconnect_with_reason_0x04_publishes_the_will",
    ],
)
def test_scenario_that_needs_stored_sessions(
    name: str,
    choice: str,
    interpreter: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # for the files of the scenario
    run_scenario(interpreter, name, request.getfixturevalue(choice))


def test_nothing_is_allocated_per_message(any_broker: broker.Address) -> None:
    run_scenario("vm", "nothing_is_allocated_per_message", any_broker)


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


@on_each_interpreter
def test_the_limits_in_connack_are_obeyed(interpreter: str, mosquitto: object) -> None:
    limits = (
        "max_qos 1",
        "max_topic_alias 3",
        "retain_available false",
        "max_keepalive 30",
        "max_packet_size 200",
    )
    with broker.Mosquitto(*limits) as limited:
        run_scenario(interpreter, "the_limits_in_connack_are_obeyed", limited.address)
