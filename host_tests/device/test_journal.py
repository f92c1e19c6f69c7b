"""A device whose outbox is on flash: what it has measured without a link outlives its end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from host_tests.conftest import NO_MOSQUITTO
from host_tests.device.observer import PREFIX, desk, said
from tools import broker
from tools.vm.device import Device


def settings(address: broker.Address, qos: int) -> dict[str, Any]:
    return {
        "device": "dut",
        "prefix": PREFIX,
        "broker": {"host": address.host, "port": address.port},
        "sensors": [{"kind": "analog", "name": "level", "pin": "level", "period": 0.2, "qos": qos}],
        "actuators": [{"name": "lamp", "pin": "lamp"}],
        "backlog": {"keep": 0},
        "stamp": False,
        "journal": 8192,
        "health": 0.5,
    }


@pytest.mark.parametrize("qos", [1, 2])
def test_messages_in_its_outbox_outlive_its_end(qos: int, tmp_path: Path) -> None:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    level = tmp_path / "level"
    level.write_text("1.0")
    with broker.Mosquitto() as server:
        config = settings(server.address, qos)
        with Device(tmp_path, config) as running, desk(server.address) as here:
            here.until(lambda: here.dut.readings.get("level"))
            server.stop()
            said(running, "no link to")
            level.write_text("2.0")
            time.sleep(1.5)  # it measures some more
            running._process.kill()
        level.write_text("3.0")
        server.start()
        with desk(server.address) as here, Device(tmp_path, config) as running:
            said(running, "messages of before the restart")
            here.until(lambda: 3.0 in here.dut.readings.get("level", ()))
            readings = list(here.dut.readings["level"])
            assert readings.count(2.0) >= 2 and readings == sorted(readings)
            assert here.command("lamp", "ON")["ok"]


def test_flash_that_fails_is_told_and_the_device_lives_on(tmp_path: Path) -> None:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    (tmp_path / "level").write_text("1.0")
    for which in (".0", ".1"):
        (tmp_path / ("outbox" + which)).mkdir()  # where its files should be
    with broker.Mosquitto() as server, desk(server.address) as here:
        with Device(tmp_path, settings(server.address, 1)) as running:
            line = said(running, "messages do not outlive a restart")
            assert line.startswith("dut: journal: ")
            here.until(lambda: len(here.dut.readings.get("level", ())) > 2)
            assert here.command("lamp", "ON")["ok"]
            assert sum("do not outlive" in line for line in running.lines) == 1
