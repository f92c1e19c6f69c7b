"""A device whose config needs more memory than there is runs without the parts that it can do without."""

from __future__ import annotations

from pathlib import Path

from host_tests.device.observer import PREFIX, Observer, wait_for_line
from tools import broker
from tools.vm.device import SimulatedDevice, host_config


def test_a_device_with_too_many_sensors_runs_with_some_of_them_and_says_so(
    mosquitto: broker.Address, tmp_path: Path
) -> None:
    settings = host_config("dut", mosquitto, PREFIX, 5)
    settings["sensors"] = [{"kind": "load", "name": f"load{n}", "period": 5} for n in range(32)]
    settings.update(health=0.5, discovery="homeassistant", backlog={"keep": 100, "on_flash": True})
    observer = Observer(mosquitto)
    with SimulatedDevice(tmp_path, settings) as running:
        observer.wait_until(lambda: observer.dut.status == "online" and observer.dut.health.get("missing"))
        missing = observer.dut.health["missing"]
        assert "discovery" in missing
        line = wait_for_line(running, "not enough memory for discovery")
        assert line == "dut: not enough memory for discovery: the device runs without it"
        assert observer.command("lamp", "ON") == {"ok": True, "name": "lamp", "state": "ON"}
        observer.wait_until(lambda: observer.dut.health.get("uptime", 0) >= 5)
        assert running.is_running and observer.dut.health["connects"] == 1
        assert 1 <= len(observer.dut.readings) == 32 - sum(name.startswith("load") for name in missing)
    observer.monitor.close()
