"""Terminal view of the monitor (Textual): device table, readings with plot, switches, events."""

from __future__ import annotations

import time
from typing import Any

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, DataTable, Footer, Header, Label, RichLog, Static
from textual_plotext import PlotextPlot

from tools.monitor.device_state import UNITS
from tools.monitor.model import MonitorModel

_POLL_INTERVAL = 0.05  # seconds
_REFRESH_INTERVAL = 0.5  # seconds
_PLOT_SECONDS = 300.0  # maximum time span of a plot


class MonitorApp(App[None]):
    """Textual application: devices on the left, the selected one on the right, events below."""

    TITLE = "umqtt5 monitor"
    CSS = """
    #devices { width: 44; }
    #readings { height: auto; max-height: 10; }
    #plot { height: 1fr; min-height: 8; }
    #switches { height: auto; }
    #switches Button { margin: 0 1; min-width: 12; }
    #health { height: auto; color: $text-muted; padding: 0 1; }
    #log { height: 8; border-top: solid $primary; }
    #banner { display: none; width: 100%; background: $error; color: $text; padding: 0 1; }
    #banner.shown { display: block; }
    """
    BINDINGS = [
        Binding("q", "quit", "quit"),
        Binding("1", "toggle_switch(0)", "first switch"),
        Binding("2", "toggle_switch(1)", "second switch"),
        Binding("3", "toggle_switch(2)", "third switch", show=False),
        Binding("4", "toggle_switch(3)", "fourth switch", show=False),
        Binding("n", "next_reading", "next plot"),
    ]

    def __init__(self, model: MonitorModel) -> None:
        super().__init__()
        self.model = model
        self.device = ""  # name of the selected device
        self.reading = ""  # name of the plotted reading
        self._last_event = 0.0  # time of the last event shown, seconds since the epoch
        self._rows: dict[str, Any] = {}  # device: key of its row in the device table
        self._switches: list[str] = []  # names of the switches shown

    def compose(self) -> ComposeResult:
        yield Header(show_clock=True)
        yield Static("", id="banner", markup=False)
        with Horizontal():
            yield DataTable(id="devices", cursor_type="row", zebra_stripes=True)
            with Vertical():
                with VerticalScroll(id="detail"):
                    yield Label("no device yet", id="name", markup=False)
                    yield DataTable(id="readings", cursor_type="row")
                    yield PlotextPlot(id="plot")
                    yield Horizontal(id="switches")
                    yield Static("", id="health", markup=False)
        yield RichLog(id="log", markup=False, wrap=True)
        yield Footer()

    def on_mount(self) -> None:
        self.sub_title = f"{self.model.address} {self.model.prefix}/"
        self.query_one("#devices", DataTable).add_columns("device", "status", "last seen", "alerts")
        self.query_one("#readings", DataTable).add_columns("reading", "now", "unit", "lowest", "highest")
        self.set_interval(_POLL_INTERVAL, self.model.poll)
        self.set_interval(_REFRESH_INTERVAL, self.show_all)
        self.query_one("#devices").focus()

    # ---- input

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        key = str(event.row_key.value) if event.row_key else ""
        if event.data_table.id == "devices" and key != self.device:
            self.device, self.reading = key, ""
            self.query_one("#readings", DataTable).clear()
            self._switches = []
            self.show_all()
        elif event.data_table.id == "readings" and key:
            self.reading = key

    def action_next_reading(self) -> None:
        """Plot the next reading."""
        names = sorted(self._state.readings) if self._state else []
        if names:
            at = names.index(self.reading) + 1 if self.reading in names else 0
            self.query_one("#readings", DataTable).move_cursor(row=at % len(names))

    def action_toggle_switch(self, index: int) -> None:
        """Toggle a switch of the selected device; `index` is its position in the sorted names."""
        names = sorted(self._state.switches) if self._state else []
        if index < len(names):
            self._command(names[index])

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self._command(str(event.button.name))

    def _command(self, switch: str) -> None:
        reason = self.model.send_command(self.device, switch, "TOGGLE")
        if reason:
            text = f"command not sent to {self.device} {switch}: {reason}"
            self.notify(text, severity="error", markup=False)

    # ---- output

    @property
    def _state(self) -> Any:
        return self.model.monitor.devices.get(self.device)

    def show_all(self) -> None:
        """Update the whole view from the model."""
        banner = self.query_one("#banner", Static)
        banner.update(f"not connected to {self.model.address}: reconnecting")
        banner.set_class(not self.model.monitor.is_connected, "shown")
        self._show_devices()
        if self._state:
            self._show_device()
        log = self.query_one("#log", RichLog)
        for at, text in list(self.model.events):
            if at > self._last_event:
                self._last_event = at
                log.write(f"{time.strftime('%H:%M:%S', time.localtime(at))}  {text}")

    def _show_devices(self) -> None:
        table = self.query_one("#devices", DataTable)
        columns = list(table.columns)
        for name, device in sorted(self.model.monitor.devices.items()):
            ago = f"{time.time() - device.last_seen:.0f} s"
            row = (name, device.status, ago, ", ".join(self.model.alerts.for_device(name)))
            if name not in self._rows:
                self._rows[name] = table.add_row(*map(Text, row), key=name)
            for column, cell in zip(columns, row):
                table.update_cell(self._rows[name], column, Text(cell))  # a str would be taken for markup

    def _show_device(self) -> None:
        device = self._state
        self.query_one("#name", Label).update(f"{self.device}  {device.status}")
        table = self.query_one("#readings", DataTable)
        columns = list(table.columns)
        for name, values in sorted(device.readings.items()):
            row = (
                name,
                f"{values[-1]:g}",
                UNITS.get(name, ""),
                f"{min(values):g}",
                f"{max(values):g}",
            )
            if name not in table.rows:
                table.add_row(*map(Text, row), key=name)
            for column, cell in zip(columns, row):
                table.update_cell(name, column, Text(cell))
        self._show_plot(device)
        self._show_switches(device)
        health = ", ".join(f"{key} {value}" for key, value in device.health.items())
        self.query_one("#health", Static).update(health)

    def _show_plot(self, device: Any) -> None:
        if self.reading not in device.readings:
            self.reading = min(device.readings, default="")
        plot = self.query_one("#plot", PlotextPlot)
        plot.plt.clear_data()
        if self.reading:
            now = time.time()
            points = [
                (at - now, value)
                for at, value in zip(device.timestamps[self.reading], device.readings[self.reading])
                if now - at < _PLOT_SECONDS
            ]
            plot.plt.title(f"{self.reading} {UNITS.get(self.reading, '')}, last {_PLOT_SECONDS:.0f} s")
            if points:
                plot.plt.plot([at for at, _ in points], [value for _, value in points], marker="braille")
        plot.refresh()

    def _show_switches(self, device: Any) -> None:
        names = sorted(device.switches)
        row = self.query_one("#switches", Horizontal)
        if names != self._switches:
            self._switches = names
            row.remove_children()
            row.mount(*(Button("", name=name) for name in names))
        for button in row.query(Button):
            state = device.switches.get(str(button.name), "")
            button.label = Content(f"{button.name} {state}")
            button.variant = "success" if state == "ON" else "default"
