"""A device whose config needs more memory than there is leaves parts out, says so, and works."""

from __future__ import annotations

from pathlib import Path

from host_tests.device.observer import PREFIX, observe, wait_for_line
from tools import broker
from tools.vm.device import SimulatedDevice, host_config


def test_a_device_with_too_many_parts_leaves_some_out_and_works(
    mosquitto: broker.Address, tmp_path: Path
) -> None:
    settings = host_config("dut", mosquitto, PREFIX, 5)
    settings["sensors"] = [{"kind": "load", "name": f"load{n}", "period": 5} for n in range(32)]
    settings.update(health=0.5, discovery="homeassistant", backlog={"keep": 100, "on_flash": True})
    with observe(mosquitto) as observer, SimulatedDevice(tmp_path, settings, "184k") as running:
        line = wait_for_line(running, "not enough memory", 30)
        assert line.endswith("the device runs without it")
        observer.wait_until(lambda: observer.dut.health.get("missing"))
        assert observer.command("lamp", "ON") == {"ok": True, "name": "lamp", "state": "ON"}
        observer.wait_until(lambda: observer.dut.health["uptime"] >= 5)
        assert running.is_running and observer.dut.health["connects"] == 1
