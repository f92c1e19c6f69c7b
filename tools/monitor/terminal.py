"""Terminal view of the monitor (Textual): device table, readings with plot, switches, events."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, DataTable, Label, Static
from textual_plotext import PlotextPlot

from tools.monitor import chart
from tools.monitor.device_state import DeviceState
from tools.monitor.health_text import describe_health
from tools.monitor.model import MonitorModel
from tools.monitor.quantities import find_quantity, format_age, format_duration, format_reading
from tools.monitor.terminal_base import BAD, GOOD, SENT, DeviceApp, draw_chart, format_status

_KEYED_SWITCHES = 4  # number of switches that have a key
# widths of the columns in a terminal of less than 100, of less than 150, and of more columns
_COLUMNS = {
    "#devices": {"device": (18, 16, 18), "status": (11, 11, 11), "seen": (0, 7, 7), "alerts": (1, 6, 36)},
    "#readings": {
        "reading": (16, 16, 20),
        "now": (12, 12, 12),
        "lowest": (0, 0, 12),
        "highest": (0, 0, 12),
        "trend": (6, 12, 8),
    },
}


class DeviceTable(DataTable[Text]):
    """The table of the devices. Its keys are shown below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor_up", "device", key_display="↑↓"),
        Binding("down", "cursor_down", show=False),
    ]


class MonitorApp(DeviceApp):
    """Textual application: devices on the left, the selected one on the right, events below."""

    TITLE = "umqtt5 monitor"
    CSS = (
        DeviceApp.CSS
        + """
    #columns { height: 1fr; }
    #devices { width: 38; }
    .-medium #devices { width: 49; }
    .-wide #devices { width: 81; }
    #detail { padding: 0 1; border-left: vkey $primary; }
    #name { text-style: bold; }
    #alerts { height: auto; color: $text-error; }
    #readings { height: auto; max-height: 9; }
    .-high #readings { max-height: 16; }
    #plot { display: none; height: 1fr; min-height: 9; }
    .-middle #plot, .-high #plot { display: block; }
    #switches { height: auto; margin: 1 0; }
    .-low #switches, .-middle #switches { margin: 0; }
    .-narrow #detail { padding: 0; }
    #switches Button { margin-right: 1; min-width: 8; }
    #health { height: auto; }
    """
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "toggle_switch(0)", "switches", key_display="1-4"),
        *(Binding(str(n + 1), f"toggle_switch({n})", show=False) for n in range(1, _KEYED_SWITCHES)),
        Binding("n", "next_reading", "next plot"),
        Binding("tab", "app.focus_next", "next part", show=False),
    ]

    def __init__(self, model: MonitorModel, seconds: float | None = None) -> None:
        super().__init__(model, seconds)
        self.device = ""  # name of the selected device
        self.reading = ""  # name of the plotted reading
        self._switches: list[str] = []  # names of the switches shown

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="columns"):
            yield DeviceTable(id="devices", cursor_type="row", zebra_stripes=True)
            with VerticalScroll(id="detail", can_focus=False):
                yield Label("no messages from devices yet", id="name", markup=False)
                yield Static("", id="alerts", markup=False)
                yield DataTable(id="readings", cursor_type="row")
                yield Horizontal(id="switches")
                yield PlotextPlot(id="plot")
                yield Static("", id="health", markup=False)
        yield self.compose_log()

    def on_mount(self) -> None:
        self.focus_body()

    def on_resize(self) -> None:
        self.call_after_refresh(self._make_columns)

    def focus_body(self) -> None:
        self.query_one("#devices").focus()

    def _make_columns(self) -> None:
        """Make the columns of both tables for the width of the terminal."""
        size = 0 if self.size.width < 100 else 1 if self.size.width < 150 else 2
        for table_id, columns in _COLUMNS.items():
            table = self.query_one(table_id, DataTable)
            table.clear(columns=True)
            for label, widths in columns.items():
                if width := widths[size]:
                    text = label if len(label) <= width else "!"  # only the alerts are ever that narrow
                    is_number = label in ("now", "lowest", "highest")
                    table.add_column(text.rjust(width) if is_number else text, width=width, key=label)
        self.show_all()

    # ---- input

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        key = str(event.row_key.value) if event.row_key and event.row_key.value is not None else ""
        if event.data_table.id == "devices" and key and key != self.device:
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
    def _state(self) -> DeviceState | None:
        return self.model.monitor.devices.get(self.device)

    def show_devices(self, devices: dict[str, DeviceState]) -> None:
        table = self.query_one("#devices", DataTable)
        if not table.columns:
            return
        shown = [str(key.value) for key in table.rows]
        if shown != list(devices):
            # a new device may belong between others
            table.clear()
            for name in devices:
                table.add_row(*[""] * len(table.columns), key=name)
            names = list(devices)
            table.move_cursor(row=names.index(self.device) if self.device in devices else 0)
        for name, device in devices.items():
            for column, cell in zip(table.columns, self._device_row(name, device)):
                table.update_cell(name, column, cell)
        if self._state:
            self._show_device(self._state)

    def _device_row(self, name: str, device: DeviceState) -> list[Text]:
        alerts = self.model.alerts.for_device(name)
        cells = {
            "device": Text(name),
            "status": format_status(device.status),
            "seen": Text(format_age(time.time() - device.last_seen)),
            "alerts": Text(", ".join(alerts), f"bold {BAD}"),
        }
        row = []
        for column in self.query_one("#devices", DataTable).ordered_columns:
            cell = cells[str(column.key.value)]
            if cell.cell_len > column.width and column.width < 10 and alerts and cell is cells["alerts"]:
                cell = Text(f"! {len(alerts)}"[: column.width], f"bold {BAD}")
            cell.truncate(column.width, overflow="ellipsis")
            row.append(cell)
        return row

    def _show_device(self, device: DeviceState) -> None:
        health = describe_health(device.health)
        title = Text.assemble((self.device, "bold"), "  ", format_status(device.status))
        if health.summary:
            title.append(f", {health.summary}", BAD if health.problems else GOOD)
        self.query_one("#name", Label).update(title)
        alerts = self.model.alerts.for_device(self.device)
        self.query_one("#alerts", Static).update("\n".join(f"! {text}" for text in alerts))
        self.query_one("#alerts").display = bool(alerts)
        self._show_readings(device)
        self._show_plot(device)
        self._show_switches(device)
        facts = [f"last message {format_age(time.time() - device.last_seen)} ago".replace("now ago", "now")]
        self.query_one("#health", Static).update(Text("; ".join([*facts, *health.facts]), "dim"))

    def _show_readings(self, device: DeviceState) -> None:
        table = self.query_one("#readings", DataTable)
        names = sorted(device.readings)
        if [str(key.value) for key in table.rows] != names:
            table.clear()
            for name in names:
                table.add_row(*[""] * len(table.columns), key=name)
            if self.reading in names:
                table.move_cursor(row=names.index(self.reading))
        for name in names:
            for column, cell in zip(table.ordered_columns, self._reading_row(device, name)):
                cell.truncate(column.width, overflow="ellipsis")
                table.update_cell(name, column.key, cell)

    def _reading_row(self, device: DeviceState, name: str) -> list[Text]:
        table = self.query_one("#readings", DataTable)
        values = device.readings[name]
        is_binary = name in device.binary_readings
        row = []
        for column in table.ordered_columns:
            kind = column.key.value
            if kind == "reading":
                row.append(Text(name.replace("_", " ")))
            elif kind == "trend":
                row.append(Text(draw_chart(device, name, column.width)[0], SENT))
            else:
                value = {"now": values[-1], "lowest": min(values), "highest": max(values)}[str(kind)]
                row.append(Text(format_reading(name, value, is_binary).rjust(column.width)))
        return row

    def _show_plot(self, device: DeviceState) -> None:
        if self.reading not in device.readings:
            self.reading = min(device.readings, default="")
        plot = self.query_one("#plot", PlotextPlot)
        plot.plt.clear_data()
        if self.reading:
            now = time.time()
            timestamps, values = device.timestamps[self.reading], device.readings[self.reading]
            span = chart.choose_span(now - timestamps[0])
            quantity = find_quantity(self.reading)
            low, high = chart.choose_axis(values, quantity.min_span, self.reading in device.binary_readings)
            name = self.reading.replace("_", " ")
            plot.plt.title(f"{name}, last {format_duration(span)}")
            plot.plt.xlim(-span, 0)
            ticks = [-span * part / 4 for part in (4, 3, 2, 1, 0)]
            plot.plt.xticks(ticks, [f"-{format_duration(-tick)}" if tick else "now" for tick in ticks])
            plot.plt.ylim(low, high)
            marks = [low, (low + high) / 2, high]
            plot.plt.yticks(marks, [format_reading(self.reading, mark) for mark in marks])
            for times, part in chart.split_at_gaps(list(timestamps), list(values)):
                plot.plt.plot([at - now for at in times], part, marker="braille", color="cyan")
        plot.refresh()

    def _show_switches(self, device: DeviceState) -> None:
        names = sorted(device.switches)
        row = self.query_one("#switches", Horizontal)
        if names != self._switches:
            self._switches = names
            row.remove_children()
            row.mount(*(Button("", name=name, compact=True) for name in names))
        for button in row.query(Button):
            name = str(button.name)
            state = device.switches.get(name, "")
            number = names.index(name) + 1 if name in names else 0
            key = f"{number} " if number <= _KEYED_SWITCHES else ""
            button.label = Content(f"{key}{name} {state}")
            button.variant = "success" if state == "ON" else "default"
