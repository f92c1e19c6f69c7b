"""Load test of a simulated fleet: starts the devices, sends commands, measures, fills in the report."""

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
from tools.fleet.load_client import DeviceStats, LoadClient
from tools.fleet.report import Report, latency_percentiles
from tools.fleet.simulation import SimulatedBroker
from tools.vm.device import SimulatedDevice

_MAX_CONNECTING = 20  # maximum number of started devices that are not online yet
_ANSWER_TIMEOUT = 5.0  # seconds to wait for the last answers after the measurement
_RESERVED_MEMORY = 256 * 1024 * 1024  # bytes that the test leaves free


@dataclass(frozen=True)
class LoadProfile:
    """Rates and duration of a load test."""

    seconds: float  # duration of the measurement
    starts_per_second: float  # devices started per second
    commands_per_second: float  # commands per second to all devices together; 0: none
    online_timeout: float = 60  # seconds from the last start until the measurement starts anyway


@dataclass
class RunStatus:
    """Progress of a running load test."""

    phase: str  # "starting" or "measuring"
    started: int  # number of devices started
    total: int  # number of devices
    load_client: LoadClient
    messages_per_second: float = 0.0  # average of the phase


class LoadTest:
    """Load test of the devices in `device_files`. Each runs in its own folder below `folder`."""

    def __init__(
        self, device_files: list[DeviceFiles], broker: SimulatedBroker, load_client: LoadClient, folder: Path
    ) -> None:
        self._device_files = device_files
        self._broker = broker
        self.load_client = load_client
        self._folder = folder
        self.devices: dict[str, SimulatedDevice] = {}

    def run(self, profile: LoadProfile, on_progress: Callable[[RunStatus], None], report: Report) -> None:
        """Run the test and fill in `report`. `on_progress` is called many times per second.

        Ctrl-C ends the measurement early. Raises VmNotFound, OSError or MQTTError, and UserError if this
        computer has too little memory.
        """
        began = time.monotonic()
        self._start(profile, on_progress)
        report.all_online_after = time.monotonic() - began
        with contextlib.suppress(KeyboardInterrupt):
            self._measure(profile, on_progress, report)
        self._conclude(report)

    def stop(self) -> None:
        """Stop all devices."""
        for device in self.devices.values():
            device.stop()

    # ---- start

    def _start(self, profile: LoadProfile, on_progress: Callable[[RunStatus], None]) -> None:
        waiting = deque(self._device_files)
        due = began = time.monotonic()
        ends = 0.0
        memory_checked = False
        while True:
            now = time.monotonic()
            online = self.load_client.online_count
            if waiting and now >= due and len(self.devices) - online < _MAX_CONNECTING:
                due = max(due + 1 / profile.starts_per_second, now - 1)
                one = waiting.popleft()
                self.devices[one.name] = simulation.start_device(one, self._folder / one.name)
                ends = now + profile.online_timeout
            elif online == len(self._device_files) or now > ends > 0:
                return
            else:
                self.load_client.poll(20)
            if not memory_checked and online and len(self.devices) * 2 >= len(self._device_files):
                memory_checked = True
                self._check_memory()
            rate = self.load_client.messages / max(0.1, now - began)
            on_progress(
                RunStatus("starting", len(self.devices), len(self._device_files), self.load_client, rate)
            )

    def _check_memory(self) -> None:
        """Estimate the memory of the remaining devices. Raises UserError if they do not fit."""
        sizes = [size for size in map(simulation.memory_usage, self.devices.values()) if size]
        free = simulation.available_memory()
        if not sizes or free is None:
            return
        each, left = sum(sizes) / len(sizes), len(self._device_files) - len(self.devices)
        if each * left + _RESERVED_MEMORY > free:
            fits = len(self.devices) + max(0, int((free - _RESERVED_MEMORY) / each))
            raise UserError(
                f"not enough memory: this computer can run about {fits} devices. Try: make fleet N={fits}"
            )

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
        """Wait for the last answers, then fill in the rest of the report."""
        load_client = self.load_client
        ends = time.monotonic() + _ANSWER_TIMEOUT
        while load_client.pending_commands and time.monotonic() < ends:
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
        for name, stats in load_client.devices.items():
            if failure := _find_failure(self.devices.get(name), stats):
                report.failed[name] = failure


def _find_failure(device: SimulatedDevice | None, stats: DeviceStats) -> str | None:
    """Return why a device failed, with the last line of its console; None if it did not fail."""
    if device is None:
        return "was not started"
    if not device.is_running:
        failure = "its process ended"
    elif not stats.was_online:
        failure = "did not come online"
    elif stats.offline_count or stats.connects > 1 or not stats.is_online:
        failure = "lost its connection"
    else:
        return None
    return f"{failure}; its last line: {device.console_lines[-1]}" if device.console_lines else failure
