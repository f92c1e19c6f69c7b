"""Helpers for the device tests: a simulated device, and an observer that reads its state from the broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import broker
from tools.monitor.device_state import DeviceMonitor, DeviceState
from tools.vm.device import SimulatedDevice, host_config

PREFIX = "test"


class Observer:
    """Watches devices through the broker and waits for their state. The device under test is named `dut`."""

    def __init__(self, address: broker.Address) -> None:
        self.events: list[str] = []
        self.monitor = DeviceMonitor(address, PREFIX)
        self.monitor.on_event = self.events.append
        self.monitor.connect()

    @property
    def dut(self) -> DeviceState:
        return self.monitor.devices.setdefault("dut", DeviceState())

    def wait_until(self, condition: Callable[[], object], timeout: float = 20) -> None:
        """Poll until `condition()` is true. Raises AssertionError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, [event[:200] for event in self.events[-20:]]
            self.monitor.poll(50)

    def command(self, switch: str, word: str) -> dict[str, object]:
        """Send a command for an output, wait for the response and return it."""
        command = self.monitor.command("dut", switch, word)
        self.wait_until(lambda: command.response is not None)
        assert command.response is not None
        return command.response


@contextmanager
def observe(address: broker.Address) -> Iterator[Observer]:
    """Yield an observer that is connected to the broker."""
    observer = Observer(address)
    try:
        yield observer
    finally:
        observer.monitor.close()


@contextmanager
def running_device(folder: Path, address: broker.Address, period: float = 0.3) -> Iterator[SimulatedDevice]:
    """Yield a running device that publishes readings every `period` seconds and health every 0.5 s."""
    settings = host_config("dut", address, PREFIX, period)
    settings["health"] = 0.5
    with SimulatedDevice(folder, settings) as running:
        yield running


def wait_for_line(running: SimulatedDevice, text: str, timeout: float = 15) -> str:
    """Wait until the device prints a line that contains `text`, and return the line."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for line in list(running.console_lines):
            if text in line:
                return line
        time.sleep(0.05)
    raise AssertionError((text, list(running.console_lines)))
