"""A simulated fleet: the real VM for each device, and what the report says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from host_tests.board.rig import run as command
from host_tests.board.rig import tool
from host_tests.conftest import NO_MOSQUITTO
from host_tests.fleet.conftest import Write
from tools import broker
from tools.fleet import simulation
from tools.fleet.device_files import Outfit, outfits
from tools.fleet.load_client import Load
from tools.fleet.load_test import Now, Pace, Run
from tools.fleet.report import Report, latency
from tools.fleet.simulation import Stage
from tools.fleet.store import Store


def test_eight_boards_with_their_certificates(described: Write, tmp_path: Path) -> None:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    light = '"relay"\n\n[[actuators]]\nname = "shelf"\nkind = "light"\npin = "lamp"\n'
    path, report = described(("count = 3", "count = 8"), ('"relay"\n', light)), tmp_path / "report.json"
    options = ("--broker", "mosquitto", "--seconds", 4, "--commands", 10, "--report", report)
    said = tool("fleet", "run", "--file", path, *options)
    found = json.loads(report.read_text())
    assert found["certificates"] and found["good"] and not found["failed"]
    assert found["devices"] == found["online"] == 8 and found["reconnects"] == 0
    assert found["commands"] == found["answered"] >= 20
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert found["messages_per_second"] > 8  # a reading a second of each
    assert 1e6 < found["memory"]["median"] < 64e6
    assert "8 of 8 online" in said and "mosquitto, certificates" in said
    for secret in json.loads((tmp_path / "fleet.private" / "passwords.json").read_text()).values():
        assert secret not in said + report.read_text()


def test_make_fleet_needs_no_description_and_no_mosquitto() -> None:
    said = command(["make", "-s", "fleet", "N=3", "SECONDS=2"])
    assert "3 of 3 online" in said and "iotcore, plain TCP" in said


def test_a_broker_that_others_use_is_left_clean(iotcore: broker.Address, tmp_path: Path) -> None:
    options = ("--seconds", 1, "--report", tmp_path / "report.json")
    tool("fleet", "run", "--count", 2, "--broker", str(iotcore), *options)
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
    said = tool("fleet", "run", "--count", 1, "--broker", url, code=1)
    assert "nobody answers there" in said and "secret" not in said


# ---- what goes wrong while it runs

Spoil = Callable[[list[Outfit]], None]


def run(
    tmp_path: Path,
    here: Stage,
    count: int,
    each: Callable[[Run, Now], None],
    spoil: Spoil = lambda wanted: None,
    patience: float = 60,
) -> Report:
    """A fleet at a broker; `each` is called as it goes on, `spoil` before it begins."""
    fleet = simulation.described(count, guarded=False)
    fleet.prefix = tmp_path.name
    wanted = [
        simulation.on_this_computer(one, here)
        for one in outfits(fleet, Store(tmp_path / "p"), tmp_path / "f")
    ]
    spoil(wanted)
    with ExitStack() as stack:
        load = Load(here.address, fleet.prefix, [one.name for one in wanted])
        load.connect()
        stack.callback(load.close, forget=False)
        running = Run(wanted, here, load, tmp_path / "devices")
        stack.callback(running.stop)
        report = Report("test")
        running.go(Pace(3, 10, 10, patience), lambda now: each(running, now), report)
    return report


def test_a_device_that_ends_is_named(iotcore: broker.Address, tmp_path: Path) -> None:
    def each(running: Run, now: Now) -> None:
        if now.phase == "measuring" and running.devices["vm-002"].running:
            running.devices["vm-002"].stop()

    report = run(tmp_path, Stage(iotcore), 2, each)
    assert list(report.failed) == ["vm-002"] and not report.good
    assert report.failed["vm-002"].startswith("its process has ended")


def test_a_device_that_does_not_come_is_named(iotcore: broker.Address, tmp_path: Path) -> None:
    def spoil(wanted: list[Outfit]) -> None:
        wanted[0].config["broker"]["port"] = broker.free_port()

    report = run(tmp_path, Stage(iotcore), 2, lambda running, now: None, spoil, patience=4)
    assert list(report.failed) == ["vm-001"] and report.online == 1
    assert report.failed["vm-001"].startswith("has not come online; it said last: ")
    assert report.answered == report.commands > 0  # of the other


def test_a_link_that_is_lost_is_told(tmp_path: Path) -> None:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    restarted: list[bool] = []
    with broker.Mosquitto() as here:

        def each(running: Run, now: Now) -> None:
            if now.phase == "measuring" and not restarted:
                restarted.append(True)
                here.stop()
                here.start()

        report = run(tmp_path, Stage(here.address), 2, each)
    assert set(report.failed) == {"vm-001", "vm-002"} and not report.good
    assert all("has lost its link" in why for why in report.failed.values())


def test_percentiles_are_those_of_what_was_measured() -> None:
    assert latency([]) == {}
    assert latency([n / 1000 for n in range(1, 101)]) == {"p50": 50, "p99": 99, "max": 100}
    assert latency([0.002]) == {"p50": 2, "p99": 2, "max": 2}
