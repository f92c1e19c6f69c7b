"""A device whose config needs more memory than there is leaves parts out and does not restart."""

from __future__ import annotations

import time
from pathlib import Path

from host_tests.device.observer import PREFIX, wait_for_line
from tools import broker
from tools.vm.device import SimulatedDevice, host_config


def test_a_device_with_too_many_parts_leaves_some_out_and_does_not_restart(
    mosquitto: broker.Address, tmp_path: Path
) -> None:
    settings = host_config("dut", mosquitto, PREFIX, 5)
    settings["sensors"] = [{"kind": "load", "name": f"load{n}", "period": 5} for n in range(32)]
    settings.update(health=0.5, discovery="homeassistant", backlog={"keep": 100, "on_flash": True})
    with SimulatedDevice(tmp_path, settings) as running:
        wait_for_line(running, "sensor load31: not enough memory: the device runs without it")
        line = wait_for_line(running, "not enough memory for discovery")
        assert line == "dut: not enough memory for discovery: the device runs without it"
        time.sleep(10)
        assert running.is_running
        assert not any("restarting" in line for line in running.console_lines)
