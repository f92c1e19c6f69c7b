"""A simulated fleet under load: started at a bounded rate, asked, measured, reported."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.errors import Problem
from tools.fleet import simulation
from tools.fleet.device_files import Outfit
from tools.fleet.load_client import Load
from tools.fleet.report import Report, latency
from tools.fleet.simulation import Stage
from tools.vm.device import Device

_AT_ONCE = 20  # on their way to being online
_ANSWER = 5.0  # s for answers that are still due at the end
_SPARE = 256 * 1024 * 1024  # bytes of memory that stay free


@dataclass(frozen=True)
class Pace:
    """How fast and how long."""

    seconds: float
    rate: float  # devices a second that are started
    commands: float  # a second, over all devices
    patience: float = 60  # s for the last ones to come online


@dataclass
class Now:
    """What there is to see while it runs."""

    phase: str
    started: int
    total: int
    load: Load
    messages_per_second: float = 0.0


class Run:
    """The devices of one run. `each` is told how it stands, some times a second."""

    def __init__(self, outfits: list[Outfit], here: Stage, load: Load, folder: Path) -> None:
        self._outfits = outfits
        self._here = here
        self.load = load
        self._folder = folder
        self.devices: dict[str, Device] = {}

    def go(self, pace: Pace, each: Callable[[Now], None], report: Report) -> None:
        """All of it; Ctrl-C ends the measuring early. Raises Problem, OSError, MQTTError."""
        began = time.monotonic()
        self._start(pace, each)
        report.all_online_after = time.monotonic() - began
        with contextlib.suppress(KeyboardInterrupt):
            self._measure(pace, each, report)
        self._conclude(report)

    def stop(self) -> None:
        """End all devices."""
        for device in self.devices.values():
            device.stop()

    # ---- start

    def _start(self, pace: Pace, each: Callable[[Now], None]) -> None:
        waiting = deque(self._outfits)
        due = began = time.monotonic()
        ends = 0.0
        looked = False
        while True:
            now = time.monotonic()
            online = self.load.online
            if waiting and now >= due and len(self.devices) - online < _AT_ONCE:
                due = max(due + 1 / pace.rate, now - 1)
                one = waiting.popleft()
                self.devices[one.name] = simulation.start(one, self._folder / one.name)
                ends = now + pace.patience
            elif online == len(self._outfits) or now > ends > 0:
                return
            else:
                self.load.poll(20)
            if not looked and online and len(self.devices) * 2 >= len(self._outfits):
                looked = True
                self._check_room()
            rate = self.load.messages / max(0.1, now - began)
            each(Now("starting", len(self.devices), len(self._outfits), self.load, rate))

    def _check_room(self) -> None:
        """Half of them tell what the other half will take."""
        sizes = [size for size in map(simulation.memory, self.devices.values()) if size]
        free = simulation.available()
        if not sizes or free is None:
            return
        each, left = sum(sizes) / len(sizes), len(self._outfits) - len(self.devices)
        if each * left + _SPARE > free:
            fits = len(self.devices) + max(0, int((free - _SPARE) / each))
            raise Problem(f"this computer has memory for some {fits} devices: say N={fits}")

    # ---- measure

    def _measure(self, pace: Pace, each: Callable[[Now], None], report: Report) -> None:
        load = self.load
        load.measure()
        began = time.monotonic()
        ends = began + pace.seconds
        names = deque(name for name, device in load.devices.items() if device.was_online)
        due = began
        try:
            while (now := time.monotonic()) < ends:
                if names and pace.commands and now >= due:
                    due += 1 / pace.commands
                    load.command(names[0])
                    names.rotate(-1)
                else:
                    load.poll(20)
                rate = load.messages / max(0.1, now - began)
                each(Now("measuring", len(self.devices), len(self._outfits), load, rate))
        finally:
            report.seconds = time.monotonic() - began
            report.messages = load.messages

    def _conclude(self, report: Report) -> None:
        load = self.load
        late = time.monotonic() + _ANSWER
        while load.unanswered and time.monotonic() < late:
            load.poll(20)
        report.devices = len(self._outfits)
        report.online = load.online
        report.commands, report.answered, report.refused = load.asked, len(load.latencies), load.refused
        report.latency_ms = latency(load.latencies)
        report.reconnects = load.reconnects
        report.desk_links_lost = load.links_lost
        report.memory = sorted(size for size in map(simulation.memory, self.devices.values()) if size)
        report.heap_free = sorted(one.heap_free for one in load.devices.values() if one.heap_free)
        for name, heard in load.devices.items():
            device = self.devices.get(name)
            last = f"; it said last: {device.lines[-1]}" if device and device.lines else ""
            if device is None:
                report.failed[name] = "was not started"
            elif not device.running:
                report.failed[name] = f"its process has ended{last}"
            elif not heard.was_online:
                report.failed[name] = f"has not come online{last}"
            elif heard.went_offline or heard.connects > 1 or not heard.online:
                report.failed[name] = f"has lost its link{last}"
