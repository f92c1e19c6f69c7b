"""Terminal views of the demo: live panels with sparklines and keys, or plain lines without a terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from sparklines import sparklines

from tools.console import Console
from tools.monitor.device_state import UNITS, DeviceMonitor, DeviceState
from tools.vm.device import SimulatedDevice

SWITCHES = ("lamp", "relay")


class View(Protocol):
    """Interface of the two views."""

    quit_requested: bool  # whether the user has pressed q

    def show_event(self, text: str) -> None:
        """Show a line about something that happened."""

    def update(self, monitor: DeviceMonitor) -> None:
        """Handle the input of the user, and show the current state of the devices."""


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
        self.quit_requested = False

    def show_event(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def update(self, monitor: DeviceMonitor) -> None:
        self._read_commands(monitor)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 2
        for name, state in sorted(monitor.devices.items()):
            if not state.readings:
                continue
            values = ", ".join(
                f"{k} {v[-1]:g} {UNITS.get(k, '')}".rstrip() for k, v in state.readings.items()
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


class RichView:
    """Live panels, one for each device, with the events below. Keys switch the outputs."""

    def __init__(self, live: Live, names: Sequence[str], devices: Sequence[SimulatedDevice]) -> None:
        self._live = live
        self._names = names
        self._devices = devices
        self._events: deque[str] = deque(maxlen=6)
        self._started = time.monotonic()
        self.quit_requested = False

    def show_event(self, text: str) -> None:
        self._events.append(f"{time.monotonic() - self._started:6.1f} s  {text}")

    def update(self, monitor: DeviceMonitor) -> None:
        self._handle_keys(monitor)
        states = [monitor.devices.get(name, DeviceState()) for name in self._names]
        console = self._live.console
        devices: RenderableType
        if console.width < 42 * len(states) or console.height < 24:
            devices = Group(*(self._brief(name, state) for name, state in zip(self._names, states)))
        else:
            panels = [self._panel(*row) for row in zip(self._names, states, self._devices)]
            devices = Columns(panels, equal=True, expand=True)
        lamps = " ".join(f"{i + 1} {name}" for i, name in enumerate(self._names))
        keys = Text(f"keys: lamps {lamps} · relays 4 5 6 · q or Ctrl-C quits", style="dim")
        events = Text("\n".join(self._events) or "waiting for the devices")
        self._live.update(Group(devices, events, keys), refresh=True)

    def _brief(self, name: str, state: DeviceState) -> Text:
        """Return the state of a device in a few lines, for a small terminal."""
        lines = [f"{name} {state.status}  {_switches(state)}"]
        readings = [
            f"{kind} {values[-1]:g} {UNITS.get(kind, '')} {sparklines([*values][-8:])[0]}"
            for kind, values in state.readings.items()
        ]
        lines += ["  " + "  ".join(readings[i : i + 2]) for i in range(0, len(readings), 2)]
        lines.append("  " + _health(state))
        text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
        text.highlight_words([name], "bold")
        return text

    def _panel(self, name: str, state: DeviceState, device: SimulatedDevice) -> Panel:
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, style="cyan")
        for kind, values in state.readings.items():
            plot = sparklines([*values][-16:])[0]
            table.add_row(kind, f"{values[-1]:g} {UNITS.get(kind, '')}".rstrip(), plot)
        figures = Table.grid(padding=(0, 1))
        figures.add_row("heap free", f"{_number(state.health, 'heap_free')} B")
        figures.add_row("sent", f"{_number(state.health, 'messages')} messages")
        figures.add_row("", f"{_number(state.health, 'bytes')} B")
        figures.add_row("aliases saved", f"{_number(state.health, 'alias_saved')} B")
        switches = Text()
        for switch, value in sorted(state.switches.items()):
            style = "black on yellow" if value == "ON" else "dim"
            switches.append(f" {switch} {value} ", style=style)
            switches.append(" ")
        last = Text(
            device.console_lines[-1] if device.console_lines else "starting",
            style="dim",
            overflow="ellipsis",
            no_wrap=True,
        )
        colour = {"online": "green", "offline": "red"}.get(state.status, "yellow")
        return Panel(
            Group(table, Text(), figures, Text(), switches, last),
            title=Text.assemble((name, "bold"), " ", (state.status, colour)),
        )

    def _handle_keys(self, monitor: DeviceMonitor) -> None:
        while select.select([sys.stdin], [], [], 0)[0]:
            key = os.read(sys.stdin.fileno(), 1)
            if key in (b"q", b""):
                self.quit_requested = True
                return
            index = key[0] - ord("1")
            if 0 <= index < len(self._names) * len(SWITCHES):
                switch, device = divmod(index, len(self._names))
                monitor.command(self._names[device], SWITCHES[switch], "TOGGLE")


@contextlib.contextmanager
def _single_keys() -> Iterator[None]:
    """Make the terminal deliver each key at once, without echo. Ctrl-C still interrupts."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def open_view(console: Console, names: Sequence[str], devices: Sequence[SimulatedDevice]) -> Iterator[View]:
    """Open the live view if standard input and output are a terminal, otherwise the plain view."""
    if console.is_terminal and sys.stdin.isatty():
        with _single_keys(), Live(console=console, auto_refresh=False, screen=False) as live:
            yield RichView(live, names, devices)
    else:
        yield PlainView(console)
