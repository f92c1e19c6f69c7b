"""The device with a journal: unsent messages are stored on flash and sent after a restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from host_tests.conftest import require_mosquitto
from host_tests.device.observer import PREFIX, observe, wait_for_line
from tools import broker
from tools.vm.device import SimulatedDevice


def settings(address: broker.Address, qos: int) -> dict[str, Any]:
    return {
        "device": "dut",
        "prefix": PREFIX,
        "broker": {"host": address.host, "port": address.port},
        "sensors": [{"kind": "analog", "name": "level", "pin": "level", "period": 0.2, "qos": qos}],
        "actuators": [{"name": "lamp", "pin": "lamp"}],
        "backlog": {"keep": 0},
        "timestamps": False,
        "journal": 8192,
        "health": 0.5,
    }


@pytest.mark.parametrize("qos", [1, 2])
def test_queued_messages_survive_a_killed_device(qos: int, tmp_path: Path) -> None:
    require_mosquitto()
    level = tmp_path / "level"
    level.write_text("1.0")
    with broker.Mosquitto() as server:
        config = settings(server.address, qos)
        with SimulatedDevice(tmp_path, config) as running, observe(server.address) as observer:
            observer.wait_until(lambda: observer.dut.readings.get("level"))
            server.stop()
            wait_for_line(running, "no connection to")
            level.write_text("2.0")
            time.sleep(1.5)  # time for more readings
            running._process.kill()
        level.write_text("3.0")
        server.start()
        with observe(server.address) as observer, SimulatedDevice(tmp_path, config) as running:
            wait_for_line(running, "messages restored")
            observer.wait_until(lambda: 3.0 in observer.dut.readings.get("level", ()))
            readings = list(observer.dut.readings["level"])
            assert readings.count(2.0) >= 2 and readings == sorted(readings)
            assert observer.command("lamp", "ON")["ok"]


def test_a_failing_journal_is_reported_and_the_device_continues(tmp_path: Path) -> None:
    require_mosquitto()
    (tmp_path / "level").write_text("1.0")
    for suffix in (".0", ".1"):
        (
            tmp_path / ("journal" + suffix)
        ).mkdir()  # a folder in place of each journal file, so that opening it fails
    with broker.Mosquitto() as server, observe(server.address) as observer:
        with SimulatedDevice(tmp_path, settings(server.address, 1)) as running:
            line = wait_for_line(running, "unsent messages are lost at a restart")
            assert line.startswith("dut: journal: ")
            observer.wait_until(lambda: len(observer.dut.readings.get("level", ())) > 2)
            assert observer.command("lamp", "ON")["ok"]
            assert sum("unsent messages are lost" in line for line in running.console_lines) == 1
