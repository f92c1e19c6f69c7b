"""Plain view of the demo: lines for a pipe, a log, or a terminal that shows no full-screen view."""

from __future__ import annotations

import os
import select
import sys
import time

from tools.console import Console
from tools.monitor.device_state import DeviceMonitor, DeviceState
from tools.monitor.quantities import format_reading


def _number(figures: dict[str, object], key: str) -> str:
    value = figures.get(key)
    return f"{value:,}" if isinstance(value, int) else "-"


def _health(state: DeviceState) -> str:
    return (
        f"heap free {_number(state.health, 'heap_free')} B · "
        f"sent {_number(state.health, 'messages')} messages, {_number(state.health, 'bytes')} B · "
        f"aliases saved {_number(state.health, 'alias_saved')} B"
    )


def _switches(state: DeviceState) -> str:
    return " · ".join(f"{name} {value}" for name, value in sorted(state.switches.items()))


class PlainView:
    """Plain lines for a pipe or a log: the events, and the state of each device every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0
        self._typed = b""

    def show_event(self, text: str) -> None:
        """Print a line about something that happened."""
        self._console.print(text, soft_wrap=True)

    def update(self, monitor: DeviceMonitor) -> None:
        """Execute the lines that the user has typed, and print the state of the devices if it is due."""
        self._read_commands(monitor)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 2
        for name, state in sorted(monitor.devices.items()):
            if not state.readings:
                continue
            values = ", ".join(
                f"{kind} {format_reading(kind, numbers[-1], kind in state.binary_readings)}"
                for kind, numbers in state.readings.items()
            )
            self.show_event(f"{name}: {state.status}: {values} · {_health(state)} · {_switches(state)}")

    def _read_commands(self, monitor: DeviceMonitor) -> None:
        """Execute lines of standard input, such as `kitchen lamp ON`."""
        while sys.stdin and not sys.stdin.closed and select.select([sys.stdin], [], [], 0)[0]:
            data = os.read(sys.stdin.fileno(), 1024)
            if not data:
                sys.stdin.close()
                return
            self._typed += data
            while b"\n" in self._typed:
                line, self._typed = self._typed.split(b"\n", 1)
                words = line.decode(errors="replace").split()
                if len(words) == 3:
                    monitor.command(*words)
                elif words:
                    self.show_event(
                        f"{' '.join(words)}: expected a line such as kitchen lamp ON (or OFF, TOGGLE)"
                    )
