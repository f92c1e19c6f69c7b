"""What the device tests share: a device, and somebody on the desktop who watches it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import broker
from tools.monitor.device_state import DeviceState, Watch
from tools.vm.device import Device, config

PREFIX = "test"


class Desk:
    """A watch with its waiting. The device under test is called `dut`."""

    def __init__(self, address: broker.Address) -> None:
        self.events: list[str] = []
        self.watch = Watch(address, PREFIX)
        self.watch.on_event = self.events.append
        self.watch.connect()

    @property
    def dut(self) -> DeviceState:
        return self.watch.devices.setdefault("dut", DeviceState())

    def until(self, condition: Callable[[], object], timeout: float = 20) -> None:
        """Poll until the condition holds; fails the test where it does not."""
        ends = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < ends, [event[:200] for event in self.events[-20:]]
            self.watch.poll(50)

    def command(self, switch: str, word: str) -> dict[str, object]:
        """Send a command and wait for its answer."""
        command = self.watch.command("dut", switch, word)
        self.until(lambda: command.answer is not None)
        assert command.answer is not None
        return command.answer


@contextmanager
def desk(address: broker.Address) -> Iterator[Desk]:
    here = Desk(address)
    try:
        yield here
    finally:
        here.watch.close()


@contextmanager
def device(folder: Path, address: broker.Address, period: float = 0.3) -> Iterator[Device]:
    settings = config("dut", address, PREFIX, period)
    settings["health"] = 0.5
    with Device(folder, settings) as running:
        yield running


def said(running: Device, text: str, timeout: float = 15) -> str:
    """Wait until the device prints a line with this text; returns it."""
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        for line in list(running.lines):
            if text in line:
                return line
        time.sleep(0.05)
    raise AssertionError((text, list(running.lines)))
