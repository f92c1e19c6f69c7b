"""A simulated fleet under load: started at a bounded rate, asked, measured, reported."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.errors import UserError
from tools.fleet import simulation
from tools.fleet.device_files import DeviceFiles
from tools.fleet.load_client import LoadClient
from tools.fleet.report import Report, latency_percentiles
from tools.fleet.simulation import SimulatedBroker
from tools.vm.device import SimulatedDevice

_AT_ONCE = 20  # on their way to being online
_ANSWER = 5.0  # s for answers that are still due at the end
_SPARE = 256 * 1024 * 1024  # bytes of memory that stay free


@dataclass(frozen=True)
class LoadProfile:
    """How fast and how long."""

    seconds: float
    starts_per_second: float  # devices a second that are started
    commands_per_second: float  # a second, over all devices
    online_timeout: float = 60  # s for the last ones to come online


@dataclass
class RunStatus:
    """What there is to see while it runs."""

    phase: str
    started: int
    total: int
    load_client: LoadClient
    messages_per_second: float = 0.0


class LoadTest:
    """The devices of one run. `each` is told how it stands, some times a second."""

    def __init__(
        self, device_files: list[DeviceFiles], broker: SimulatedBroker, load_client: LoadClient, folder: Path
    ) -> None:
        self._device_files = device_files
        self._broker = broker
        self.load_client = load_client
        self._folder = folder
        self.devices: dict[str, SimulatedDevice] = {}

    def run(self, profile: LoadProfile, on_progress: Callable[[RunStatus], None], report: Report) -> None:
        """All of it; Ctrl-C ends the measuring early. Raises UserError, OSError, MQTTError."""
        began = time.monotonic()
        self._start(profile, on_progress)
        report.all_online_after = time.monotonic() - began
        with contextlib.suppress(KeyboardInterrupt):
            self._measure(profile, on_progress, report)
        self._conclude(report)

    def stop(self) -> None:
        """End all devices."""
        for device in self.devices.values():
            device.stop()

    # ---- start

    def _start(self, profile: LoadProfile, on_progress: Callable[[RunStatus], None]) -> None:
        waiting = deque(self._device_files)
        due = began = time.monotonic()
        ends = 0.0
        looked = False
        while True:
            now = time.monotonic()
            online = self.load_client.online_count
            if waiting and now >= due and len(self.devices) - online < _AT_ONCE:
                due = max(due + 1 / profile.starts_per_second, now - 1)
                one = waiting.popleft()
                self.devices[one.name] = simulation.start_device(one, self._folder / one.name)
                ends = now + profile.online_timeout
            elif online == len(self._device_files) or now > ends > 0:
                return
            else:
                self.load_client.poll(20)
            if not looked and online and len(self.devices) * 2 >= len(self._device_files):
                looked = True
                self._check_room()
            rate = self.load_client.messages / max(0.1, now - began)
            on_progress(
                RunStatus("starting", len(self.devices), len(self._device_files), self.load_client, rate)
            )

    def _check_room(self) -> None:
        """Half of them tell what the other half will take."""
        sizes = [size for size in map(simulation.memory_usage, self.devices.values()) if size]
        free = simulation.available_memory()
        if not sizes or free is None:
            return
        each, left = sum(sizes) / len(sizes), len(self._device_files) - len(self.devices)
        if each * left + _SPARE > free:
            fits = len(self.devices) + max(0, int((free - _SPARE) / each))
            raise UserError(f"this computer has memory for some {fits} devices: say N={fits}")

    # ---- measure

    def _measure(
        self, profile: LoadProfile, on_progress: Callable[[RunStatus], None], report: Report
    ) -> None:
        load_client = self.load_client
        load_client.reset_counters()
        began = time.monotonic()
        ends = began + profile.seconds
        names = deque(name for name, device in load_client.devices.items() if device.was_online)
        due = began
        try:
            while (now := time.monotonic()) < ends:
                if names and profile.commands_per_second and now >= due:
                    due += 1 / profile.commands_per_second
                    load_client.command(names[0])
                    names.rotate(-1)
                else:
                    load_client.poll(20)
                rate = load_client.messages / max(0.1, now - began)
                on_progress(
                    RunStatus("measuring", len(self.devices), len(self._device_files), load_client, rate)
                )
        finally:
            report.seconds = time.monotonic() - began
            report.messages = load_client.messages

    def _conclude(self, report: Report) -> None:
        load_client = self.load_client
        late = time.monotonic() + _ANSWER
        while load_client.pending_commands and time.monotonic() < late:
            load_client.poll(20)
        report.devices = len(self._device_files)
        report.online = load_client.online_count
        report.commands, report.answered, report.refused = (
            load_client.commands_sent,
            len(load_client.latencies),
            load_client.commands_refused,
        )
        report.latency_ms = latency_percentiles(load_client.latencies)
        report.reconnects = load_client.reconnects
        report.dashboard_connection_losses = load_client.connection_losses
        report.memory = sorted(size for size in map(simulation.memory_usage, self.devices.values()) if size)
        report.heap_free = sorted(one.heap_free for one in load_client.devices.values() if one.heap_free)
        for name, heard in load_client.devices.items():
            device = self.devices.get(name)
            last = f"; it said last: {device.console_lines[-1]}" if device and device.console_lines else ""
            if device is None:
                report.failed[name] = "was not started"
            elif not device.is_running:
                report.failed[name] = f"its process has ended{last}"
            elif not heard.was_online:
                report.failed[name] = f"has not come online{last}"
            elif heard.offline_count or heard.connects > 1 or not heard.is_online:
                report.failed[name] = f"has lost its link{last}"
