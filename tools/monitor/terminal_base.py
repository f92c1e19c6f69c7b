"""Base of the terminal views of monitor and demo (Textual): title, filter, log, keys, end of the program."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import ClassVar

from rich.text import Text
from sparklines import sparklines
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Footer, Input, Static

from tools.monitor import chart
from tools.monitor.device_state import DeviceState
from tools.monitor.model import MonitorModel
from tools.monitor.quantities import find_quantity

_POLL_INTERVAL = 0.05  # seconds
_REFRESH_INTERVAL = 0.5  # seconds
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
GOOD, BAD, UNSURE, SENT = "#98e024", "#ff6b81", "#fdb74a", "#58d1eb"  # each readable on black
STATUS_STYLES = {"online": f"bold {GOOD}", "offline": f"bold {BAD}"}
STATUS_SIGNS = {"online": "●", "offline": "○"}  # also without colours the two differ


def format_status(status: str) -> Text:
    """Return the status of a device with a sign and a colour."""
    return Text(f"{STATUS_SIGNS.get(status, '◌')} {status}", STATUS_STYLES.get(status, UNSURE))


def draw_chart(device: DeviceState, reading: str, columns: int, rows: int = 1, now: float = 0.0) -> list[str]:
    """Return the lines of a chart of block characters, on the axis of `choose_axis`. Gaps are empty."""
    values, timestamps = list(device.readings[reading]), list(device.timestamps[reading])
    now = max(now or time.time(), timestamps[-1])
    start = now - chart.choose_span(now - timestamps[0])
    first = next((i for i, at in enumerate(timestamps) if at >= start), len(values))
    is_binary = reading in device.binary_readings
    low, high = chart.choose_axis(values[first:], find_quantity(reading).min_span, is_binary)
    points = chart.resample(timestamps[first:], values[first:], columns, start, now + 0.001)
    known = next((i for i, point in enumerate(points) if point is not None), columns)
    if known == columns:
        return [" " * columns] * rows
    # sparklines draws negative numbers as full bars
    heights = [None if point is None else min(max(point - low, 0), high - low) for point in points[known:]]
    lines = sparklines(heights, num_lines=rows, minimum=0, maximum=high - low)
    return [" " * known + line for line in lines]


class DeviceApp(App[None]):
    """Full-screen application that shows the devices of a model. The subclass composes the body.

    It ends after `seconds`, by a key, or by a signal. Afterwards `return_code` is the exit code.
    """

    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-medium"), (150, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (28, "-middle"), (42, "-high")]
    CSS = """
    #title { height: 1; background: $primary-darken-2; color: $text; padding: 0 1; }
    #banner { display: none; height: 1; background: $error; color: $text; padding: 0 1; }
    #banner.shown { display: block; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    #filter.shown { display: block; }
    #log { height: 6; border: round $primary; border-title-color: $text; padding: 0 1; }
    .-middle #log { height: 8; }
    .-high #log { height: 12; }
    * { scrollbar-size: 1 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("escape", "end_filter", show=False),
    ]

    def __init__(self, model: MonitorModel, seconds: float | None = None) -> None:
        super().__init__()
        self.model = model
        self._seconds = seconds
        self._words: list[str] = []  # of the filter, in lower case
        self._last_event = (0.0, "")  # the last event shown

    # ---- life

    def run_until_end(self) -> int:
        """Show the application until it ends, and return the exit code."""
        self.run()
        return self.return_code or 0

    def compose(self) -> ComposeResult:
        yield Static("", id="title", markup=False)
        yield Static("", id="banner", markup=False)
        yield Input(placeholder="filter: a part of the name, status or alert. Esc ends it", id="filter")
        with Container(id="body"):
            yield from self.compose_body()
        yield Footer()

    def compose_body(self) -> ComposeResult:
        """Return the widgets between title and keys. One of them is that of `compose_log`."""
        raise NotImplementedError

    def compose_log(self) -> VerticalScroll:
        """Return the widget of the log."""
        log = VerticalScroll(Static("", id="events", markup=False), id="log", can_focus=False)
        log.border_title = "events and commands"
        return log

    def on_mount(self) -> None:
        self.query_one("#log", VerticalScroll).anchor()  # new lines scroll, unless the user has scrolled back
        self.set_interval(_POLL_INTERVAL, self.poll)
        self.set_interval(_REFRESH_INTERVAL, self.show_all)
        if self._seconds:
            self.set_timer(self._seconds, self.exit)
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:  # otherwise the terminal would stay as the application has set it
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread
                loop.add_signal_handler(number, self.exit, None, 128 + number)
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGINT, self.action_interrupt)
        self.show_all()

    def poll(self) -> None:
        """Receive messages. It is called often."""
        self.model.poll()

    # ---- keys

    def action_interrupt(self) -> None:
        """End as Ctrl-C does: with 0, because it is the usual end if there is no time limit."""
        self.exit(None, 130 if self._seconds else 0)

    def action_filter(self) -> None:
        """Show the field of the filter."""
        field = self.query_one("#filter", Input)
        field.add_class("shown")
        field.focus()

    def action_end_filter(self) -> None:
        """Show all devices again."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("shown")
        self.focus_body()

    def focus_body(self) -> None:
        """Give the focus to the devices."""
        raise NotImplementedError

    def on_input_changed(self, event: Input.Changed) -> None:
        self._words = event.value.lower().split()
        self.show_all()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.focus_body()

    # ---- output

    def visible_devices(self) -> dict[str, DeviceState]:
        """Return the devices that match the filter, by name and in the order of the names."""
        found = {}
        for name, device in sorted(self.model.monitor.devices.items()):
            text = " ".join((name, device.status, *self.model.alerts.for_device(name))).lower()
            if all(word in text for word in self._words):
                found[name] = device
        return found

    def show_all(self) -> None:
        """Update the whole view from the model."""
        if not self.query("#title"):  # a timer can run while the application ends
            return
        self._show_title()
        banner = self.query_one("#banner", Static)
        banner.update(f"not connected to {self.model.address}: reconnecting")
        banner.set_class(not self.model.monitor.is_connected, "shown")
        self.show_devices(self.visible_devices())
        self._show_events()

    def _show_events(self) -> None:
        events = list(self.model.events)
        if not events or events[-1] == self._last_event:
            return
        self._last_event = events[-1]
        lines = Text("\n").join([self._format_event(*event) for event in events])
        self.query_one("#events", Static).update(lines)

    def show_devices(self, devices: dict[str, DeviceState]) -> None:
        """Show these devices."""
        raise NotImplementedError

    def _show_title(self) -> None:
        devices = self.model.monitor.devices
        online = sum(device.status == "online" for device in devices.values())
        alerts = len(self.model.alerts.active)
        counts = f"{online} of {len(devices)} online"
        if alerts:
            counts += f", {alerts} alert" + "s" * (alerts > 1)
        right = Text(f"{counts}   {time.strftime('%H:%M:%S')}")
        width = max(self.size.width - 2, 0)
        left = Text.assemble((str(self.TITLE), "bold"), f"  {self.model.address} {self.model.prefix}/")
        left.truncate(max(width - right.cell_len - 2, 0), overflow="ellipsis", pad=True)
        self.query_one("#title", Static).update(Text.assemble(left, "  ", right, no_wrap=True))

    @staticmethod
    def _format_event(at: float, text: str) -> Text:
        style = ""
        if text.startswith("ALERT"):
            style = f"bold {BAD}"
        elif text.endswith(": sent") or ": done after " in text:
            style = SENT
        elif ": refused: " in text or ": no answer " in text:
            style = BAD
        return Text.assemble((time.strftime("%H:%M:%S  ", time.localtime(at)), "dim"), (text, style))
