"""A device that crashes: it says why, and in the end stays where it can be mended."""

from __future__ import annotations

from pathlib import Path

from host_tests.device.observer import PREFIX, Desk
from tools import broker
from tools.vm.device import Device, config


def test_after_three_crashes_it_stays_in_safe_mode(
    any_broker: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    settings = config("dut", any_broker, PREFIX, 0.3)
    settings["health"] = 0.5
    settings["actuators"] = [{"kind": "light", "name": "lamp", "pin": "lamp"}]
    (tmp_path / "lamp").mkdir()  # so that its output can't be written
    for _ in range(3):
        with Device(tmp_path, settings) as running:
            assert running.wait(30) == 1
            assert "dut: restart in 5 s" in running.lines
    crashes: list[bytes] = []
    at_desk.watch._client.subscribe(f"{PREFIX}/dut/crash", lambda message: crashes.append(message.payload))
    at_desk.watch.poll(500)
    at_desk.dut.switches.clear()  # of devices of other tests, retained
    with Device(tmp_path, settings) as running:
        at_desk.until(lambda: at_desk.dut.status == "safe mode")
        at_desk.until(lambda: crashes)
        assert b"OSError" in crashes[0] and b'File "light"' in crashes[0]
        at_desk.until(lambda: at_desk.dut.health.get("uptime", 0) >= 1)
        assert not at_desk.dut.readings and not at_desk.dut.switches
        at_desk.until(lambda: not (tmp_path / "crash.txt").exists())  # the broker has it
        assert running.running


def test_health_tells_what_its_link_and_its_heap_went_through(
    any_broker: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    settings = config("dut", any_broker, PREFIX, 0.3)
    settings["health"] = 0.3
    with Device(tmp_path, settings):
        at_desk.until(lambda: at_desk.dut.health.get("uptime", 0) >= 2)
        health = at_desk.dut.health
        assert 0 < health["heap_least"] <= health["heap_free"]
        assert 0 <= health["stall"] < 5000 and health["connects"] == 1
        assert health["reset"] == "unknown"  # the host has none
