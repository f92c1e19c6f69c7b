"""A simulated fleet: the real VM for each device, and what the report says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from host_tests.board.rig import run_command, run_tool
from host_tests.conftest import NO_MOSQUITTO
from host_tests.fleet.conftest import WriteDescription
from tools import broker
from tools.fleet import simulation
from tools.fleet.device_files import DeviceFiles, build_device_files
from tools.fleet.load_client import LoadClient
from tools.fleet.load_test import LoadProfile, LoadTest, RunStatus
from tools.fleet.report import Report, latency_percentiles
from tools.fleet.simulation import SimulatedBroker
from tools.fleet.store import FleetStore


def test_eight_boards_with_their_certificates(write_description: WriteDescription, tmp_path: Path) -> None:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    light = '"relay"\n\n[[actuators]]\nname = "shelf"\nkind = "light"\npin = "lamp"\n'
    path, report = (
        write_description(("count = 3", "count = 8"), ('"relay"\n', light)),
        tmp_path / "report.json",
    )
    options = ("--broker", "mosquitto", "--seconds", 4, "--command-rate", 10, "--report", report)
    said = run_tool("fleet", "run", "--file", path, *options)
    found = json.loads(report.read_text())
    assert found["certificates"] and found["passed"] and not found["failed"]
    assert found["devices"] == found["online"] == 8 and found["reconnects"] == 0
    assert found["commands"] == found["answered"] >= 20
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert found["messages_per_second"] > 8  # a reading a second of each
    assert 1e6 < found["memory"]["median"] < 64e6
    assert "8 of 8 online" in said and "mosquitto, certificates" in said
    for secret in json.loads((tmp_path / "fleet.private" / "passwords.json").read_text()).values():
        assert secret not in said + report.read_text()


def test_make_fleet_needs_no_description_and_no_mosquitto() -> None:
    said = run_command(["make", "-s", "fleet", "N=3", "SECONDS=2"])
    assert "3 of 3 online" in said and "iotcore, plain TCP" in said


def test_a_broker_that_others_use_is_left_clean(iotcore: broker.Address, tmp_path: Path) -> None:
    options = ("--seconds", 1, "--report", tmp_path / "report.json")
    run_tool("fleet", "run", "--count", 2, "--broker", str(iotcore), *options)
    left: list[str] = []
    from umqtt5 import Client

    client = Client(iotcore.host, iotcore.port, client_id="who-looks")
    client.subscribe("#", lambda message: left.append(message.topic), qos=1)
    client.connect()
    client.poll(300)
    client.disconnect()
    assert not [topic for topic in left if topic.startswith("umqtt5-fleet-")]


def test_a_broker_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    url = f"mqtt://me:secret@127.0.0.1:{broker.free_port()}"
    said = run_tool("fleet", "run", "--count", 1, "--broker", url, code=1)
    assert "no broker answers" in said and "secret" not in said


# ---- what goes wrong while it runs

Spoil = Callable[[list[DeviceFiles]], None]


def run(
    tmp_path: Path,
    here: SimulatedBroker,
    count: int,
    each: Callable[[LoadTest, RunStatus], None],
    spoil: Spoil = lambda wanted: None,
    timeout: float = 60,
) -> Report:
    """A fleet at a broker; `each` is called as it goes on, `spoil` before it begins."""
    fleet = simulation.default_fleet(count, secured=False)
    fleet.prefix = tmp_path.name
    wanted = [
        simulation.for_host_board(one, here)
        for one in build_device_files(fleet, FleetStore(tmp_path / "p"), tmp_path / "f")
    ]
    spoil(wanted)
    with ExitStack() as stack:
        load = LoadClient(here.address, fleet.prefix, [one.name for one in wanted])
        load.connect()
        stack.callback(load.close, clear_retained=False)
        running = LoadTest(wanted, here, load, tmp_path / "devices")
        stack.callback(running.stop)
        report = Report("test")
        running.run(LoadProfile(3, 10, 10, timeout), lambda now: each(running, now), report)
    return report


def test_a_device_that_ends_is_named(iotcore: broker.Address, tmp_path: Path) -> None:
    def each(running: LoadTest, now: RunStatus) -> None:
        if now.phase == "measuring" and running.devices["vm-002"].is_running:
            running.devices["vm-002"].stop()

    report = run(tmp_path, SimulatedBroker(iotcore), 2, each)
    assert list(report.failed) == ["vm-002"] and not report.passed
    assert report.failed["vm-002"].startswith("its process ended")


def test_a_device_that_does_not_come_is_named(iotcore: broker.Address, tmp_path: Path) -> None:
    def spoil(wanted: list[DeviceFiles]) -> None:
        wanted[0].config["broker"]["port"] = broker.free_port()

    report = run(tmp_path, SimulatedBroker(iotcore), 2, lambda running, now: None, spoil, timeout=4)
    assert list(report.failed) == ["vm-001"] and report.online == 1
    assert report.failed["vm-001"].startswith("did not come online; its last line: ")
    assert report.answered == report.commands > 0  # of the other


def test_a_link_that_is_lost_is_told(tmp_path: Path) -> None:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    restarted: list[bool] = []
    with broker.Mosquitto() as here:

        def each(running: LoadTest, now: RunStatus) -> None:
            if now.phase == "measuring" and not restarted:
                restarted.append(True)
                here.stop()
                here.start()

        report = run(tmp_path, SimulatedBroker(here.address), 2, each)
    assert set(report.failed) == {"vm-001", "vm-002"} and not report.passed
    assert all("lost its connection" in why for why in report.failed.values())


def test_percentiles_are_those_of_what_was_measured() -> None:
    assert latency_percentiles([]) == {}
    assert latency_percentiles([n / 1000 for n in range(1, 101)]) == {"p50": 50, "p99": 99, "max": 100}
    assert latency_percentiles([0.002]) == {"p50": 2, "p99": 2, "max": 2}
