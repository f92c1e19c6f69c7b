"""Terminal view of the demo (Textual): a card for each device, and a log below or beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from tools.console import escape_controls
from tools.monitor import chart
from tools.monitor.device_state import DeviceState
from tools.monitor.health_text import describe_health
from tools.monitor.model import MonitorModel
from tools.monitor.quantities import find_quantity, format_reading
from tools.monitor.terminal_base import BAD, GOOD, SENT, DeviceApp, draw_chart, format_status
from tools.vm.device import SimulatedDevice

SWITCHES = ("lamp", "relay")
_TALL_CHART = 4  # rows for a reading from which on its chart stands below its value
_MAX_CHART_ROWS = 8


class DeviceCard(Static, can_focus=True):
    """The state of one device: readings with charts, switches with their keys, health in words."""

    def __init__(self, name: str, keys: dict[str, str], process: SimulatedDevice) -> None:
        super().__init__("", markup=False)
        self.device_name = name
        self._keys = keys  # switch: its key
        self._process = process

    def show(self, device: DeviceState) -> None:
        """Draw the state of the device for the present size of the card."""
        # the descriptor of the attribute takes a Text, too, and finds no markup in it
        title = Text.assemble((self.device_name, "bold"), " ", format_status(device.status))
        self.border_title = title
        width, height = self.content_size
        if width < 10:
            return
        lines = [*self._switch_lines(device, width), *self._health_lines(device, width)]
        room = height - len(lines) - 1
        readings = sorted(device.readings)
        if not readings:
            output = self._process.console_lines
            self.update(Text(escape_controls(output[-1]) if output else "starting", "dim"))
            return
        rows = room // len(readings)
        body: list[Text] = []
        for name in readings:
            if rows >= _TALL_CHART:
                body += self._tall_reading(device, name, width, min(rows - 2, _MAX_CHART_ROWS))
            else:
                body.append(self._reading_line(device, name, width))
        if rows < _TALL_CHART and len(body) + len(lines) < height:
            body.append(Text())
        self.update(Text("\n").join([*body, *lines][:height]))

    @staticmethod
    def _value(device: DeviceState, name: str) -> str:
        return format_reading(name, device.readings[name][-1], name in device.binary_readings)

    def _reading_line(self, device: DeviceState, name: str, width: int) -> Text:
        label = Text(name.replace("_", " "))
        label.truncate(16, overflow="ellipsis", pad=True)
        value = Text(self._value(device, name), "bold")
        value.truncate(12, overflow="ellipsis")
        value.pad_left(12 - value.cell_len)
        columns = width - 16 - 12 - 2
        trend = draw_chart(device, name, columns)[0] if columns >= 4 else ""
        return Text.assemble(label, " ", value, " ", (trend, SENT))

    def _tall_reading(self, device: DeviceState, name: str, width: int, rows: int) -> list[Text]:
        value = self._value(device, name)
        label = Text(name.replace("_", " "))
        label.truncate(width - len(value) - 1, overflow="ellipsis", pad=True)
        is_binary = name in device.binary_readings
        axis = chart.choose_axis(device.readings[name], find_quantity(name).min_span, is_binary)
        low, high = (format_reading(name, end, is_binary) for end in axis)
        margin = max(len(low), len(high)) + 1
        lines = [Text.assemble(label, " ", (value, "bold"))]
        for row, line in enumerate(draw_chart(device, name, width - margin, rows)):
            text = high if row == 0 else low if row == rows - 1 else ""
            lines.append(Text.assemble((line, SENT), (text.rjust(margin), "dim")))
        return [*lines, Text()]

    def _switch_lines(self, device: DeviceState, width: int) -> list[Text]:
        lines = [Text()]
        for name, state in sorted(device.switches.items()):
            key = f"{self._keys[name]} " if name in self._keys else ""
            label = Text(f" {key}{name} {state} ", "black on yellow" if state == "ON" else "reverse dim")
            label.truncate(width, overflow="ellipsis")
            if lines[-1].cell_len + label.cell_len > width:
                lines.append(Text())
            lines[-1].append_text(label).append(" ")
        return lines[:2]

    @staticmethod
    def _health_lines(device: DeviceState, width: int) -> list[Text]:
        health = describe_health(device.health)
        words = [health.summary, *health.facts] if health.facts else []
        lines: list[str] = []
        for word in words:  # a fact is not split over two lines if it fits into one
            if lines and len(lines[-1]) + len(word) + 3 <= width:
                lines[-1] += f" · {word}"
            else:
                lines.append(word[:width])
        style = BAD if health.problems else GOOD
        texts = [Text(line, "dim") for line in lines[:6]]
        if texts:
            texts[0].stylize(f"not dim {style}", 0, len(health.summary))
        return texts


class DemoApp(DeviceApp):
    """Full-screen view of the demo. `step` is called often, and returns False when the demo has to end."""

    TITLE = "umqtt5 demo"
    CSS = (
        DeviceApp.CSS
        + """
    #body { layout: grid; grid-size: 2; grid-gutter: 0; height: 1fr; }
    .-wide #body { grid-size: 3; grid-rows: 1fr 12; }
    #log, .-middle #log, .-high #log { height: 100%; }
    .-wide #log { column-span: 3; }
    DeviceCard { border: round $surface-lighten-3; border-title-color: $text; padding: 0 1; height: 100%; }
    DeviceCard:focus { border: round $accent; }
    """
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "toggle_output(0)", "lamps", key_display="1-3"),
        Binding("4", "toggle_output(3)", "relays", key_display="4-6"),
        *(Binding(str(n + 1), f"toggle_output({n})", show=False) for n in (1, 2, 4, 5)),
        Binding("right,down", "app.focus_next", "device", key_display="←→"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("l", "toggle_focused('lamp')", "lamp"),
        Binding("r", "toggle_focused('relay')", "relay"),
    ]

    def __init__(
        self,
        model: MonitorModel,
        names: Sequence[str],
        devices: Sequence[SimulatedDevice],
        step: Callable[[], bool],
        seconds: float | None = None,
    ) -> None:
        super().__init__(model, seconds)
        self._names = names
        self._step = step
        self._cards = []
        for index, (name, device) in enumerate(zip(names, devices)):
            keys = {switch: str(index + 1 + at * len(names)) for at, switch in enumerate(SWITCHES)}
            self._cards.append(DeviceCard(name, keys, device))

    def compose_body(self) -> ComposeResult:
        yield from self._cards
        yield self.compose_log()

    def on_mount(self) -> None:
        self.focus_body()

    def on_resize(self) -> None:
        self.call_after_refresh(self.show_all)

    def focus_body(self) -> None:
        self._cards[0].focus()

    def poll(self) -> None:
        super().poll()
        if not self._step():
            self.exit()

    def action_toggle_output(self, index: int) -> None:
        """Toggle an output: the lamps of all devices have the first numbers, then come the relays."""
        switch, device = divmod(index, len(self._names))
        self._toggle(self._names[device], SWITCHES[switch])

    def action_toggle_focused(self, switch: str) -> None:
        """Toggle an output of the selected device."""
        if isinstance(self.focused, DeviceCard):
            self._toggle(self.focused.device_name, switch)

    def _toggle(self, device: str, switch: str) -> None:
        reason = self.model.send_command(device, switch, "TOGGLE")
        if reason:
            self.notify(f"command not sent to {device} {switch}: {reason}", severity="error", markup=False)

    def show_devices(self, devices: dict[str, DeviceState]) -> None:
        for card in self._cards:
            state = self.model.monitor.devices.get(card.device_name)
            card.display = card.device_name in devices or state is None
            card.show(state or DeviceState())
