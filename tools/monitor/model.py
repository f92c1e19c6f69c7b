"""Data model of the monitor, shared by terminal and web page: device state, alerts, events, history."""

from __future__ import annotations

import csv
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from tools.broker import Address
from tools.errors import UserError
from tools.monitor import chart
from tools.monitor.alerts import AlertRule, Alerts
from tools.monitor.csv_rows import guard_cell
from tools.monitor.device_state import DeviceMonitor, DeviceState, sanitize
from tools.monitor.health_text import describe_health
from tools.monitor.history import HistoryStore, Sample
from tools.monitor.quantities import find_quantity
from umqtt5 import MQTTError

_HISTORY = 600  # number of values stored per reading
_MAX_EVENTS = 200
_MAX_EVENT_LENGTH = 200  # characters
_MAX_POLLS = 50  # maximum number of polls without waiting in one `poll()`


def _open_record(path: Path) -> TextIO:
    """Open the CSV file for appending. Raises UserError if it is not a regular file."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UserError(f"--record {path}: not a regular file. Choose another name")
        return path.open("a", newline="", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--record {path}: cannot open the file: {error.strerror}") from error


class MonitorModel:
    """All data that the monitor shows. Call `poll()` often.

    Only the first connect and each name resolution block. Readings are appended to the CSV file `record`,
    and stored in the SQLite file `history`, unless these are None. `shared_broker` as in `DeviceMonitor`.
    """

    def __init__(
        self,
        address: Address,
        prefix: str,
        rules: list[AlertRule],
        record: Path | None = None,
        history: Path | None = None,
        shared_broker: bool = True,
    ) -> None:
        self.address = address
        self.prefix = prefix
        self.events: deque[tuple[float, str]] = deque(maxlen=_MAX_EVENTS)  # time (s since the epoch), text
        self.alerts = Alerts(rules, self.add_event)
        self.monitor = DeviceMonitor(address, prefix, history=_HISTORY, shared_broker=shared_broker)
        self.monitor.on_event = self.add_event
        self.monitor.on_reading = self._on_reading
        self.history = HistoryStore(history, f"{address} {prefix}", self.add_event) if history else None
        self._loaded_at: dict[tuple[str, str], float] = {}  # when stored readings were added
        self._charts: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        self._file = _open_record(record) if record else None
        self._rows = csv.writer(self._file) if self._file else None

    def connect(self) -> None:
        """Connect to the broker. Later reconnects happen in `poll()`. Raises UserError."""
        try:
            self.monitor.connect()
        except (OSError, MQTTError) as error:
            raise UserError(
                f"{self.address}: connection failed: {error}. Try: make doctor BROKER={self.address}"
            ) from error

    def poll(self, ms: int = 0) -> None:
        """Receive messages, waiting up to `ms` milliseconds for the first one, and update the alerts."""
        self.monitor.poll(ms)
        for _ in range(_MAX_POLLS):
            before = sum(device.message_count for device in self.monitor.devices.values())
            self.monitor.poll(0)
            if before == sum(device.message_count for device in self.monitor.devices.values()):
                break
        self.alerts.check_devices(self.monitor.devices)
        if self.history:
            self.history.flush()

    def close(self) -> None:
        """Disconnect, and close the files."""
        self.monitor.close()
        if self.history:
            self.history.close()
        if self._file:
            self._file.close()

    def add_event(self, text: str) -> None:
        """Append an event with this text and the current time."""
        self.events.append((time.time(), sanitize(text, _MAX_EVENT_LENGTH)))

    def send_command(self, device: str, name: str, payload: str) -> str | None:
        """Send ON, OFF or TOGGLE to a switch. Returns None, or the reason why it is rejected."""
        if payload not in ("ON", "OFF", "TOGGLE"):
            return "expected ON, OFF or TOGGLE"
        if name not in getattr(self.monitor.devices.get(device), "switches", {}):
            return "no such switch"
        if not self.monitor.is_connected:
            return "not connected to the broker"
        self.monitor.command(device, name, payload)
        return None

    def export(self, device: str | None = None) -> Iterator[Sample]:
        """Return the readings stored on disk, or without a history those in memory; all or of one device."""
        if self.history:
            return self.history.export(device)
        samples = [
            (at, name, reading, value)
            for name, state in self.monitor.devices.items()
            if device in (None, name)
            for reading, values in state.readings.items()
            for at, value in zip(state.timestamps[reading], values)
        ]
        return iter(sorted(samples))

    def _on_reading(self, device: str, name: str, value: float) -> None:
        state = self.monitor.devices.get(device)
        now = time.time()
        if self.history and state:
            if len(state.readings[name]) == 1:  # first reading: the chart continues with those stored earlier
                for at, earlier in reversed(self.history.load(device, name, _HISTORY - 1)):
                    state.timestamps[name].appendleft(at)
                    state.readings[name].appendleft(earlier)
                self._loaded_at[device, name] = now
            self.history.add(now, device, name, value)
        self.alerts.handle_reading(device, name, value)
        if self._rows and self._file:
            self._rows.writerow([f"{now:.3f}", guard_cell(device), guard_cell(name), value])
            self._file.flush()

    def snapshot(self, since: float = 0.0) -> dict[str, Any]:
        """Return the state as JSON-compatible objects.

        With `since` (seconds since the epoch), the state contains only the values and events after this time,
        and only the devices that have sent a message after it or have an alert.
        """
        return {
            "broker": str(self.address),
            "prefix": self.prefix,
            "connected": self.monitor.is_connected,
            "dropped": self.monitor.dropped_messages,
            "now": time.time(),
            "events": [[at, text] for at, text in self.events if at > since],
            "devices": {
                name: self._describe_device(name, device, since)
                for name, device in self.monitor.devices.items()
                if device.last_seen > since or not since or self.alerts.for_device(name)
            },
        }

    def _describe_device(self, name: str, device: DeviceState, since: float) -> dict[str, Any]:
        health = describe_health(device.health)
        return {
            "status": device.status,
            "last_seen": device.last_seen,
            "alerts": self.alerts.for_device(name),
            "switches": dict(sorted(device.switches.items())),
            "problems": health.problems,
            "facts": health.facts,
            "health": device.health,
            "readings": {
                reading: self._describe_reading(name, reading, since) for reading in sorted(device.readings)
            },
        }

    def _describe_reading(self, name: str, reading: str, since: float) -> dict[str, Any]:
        device = self.monitor.devices[name]
        values, timestamps = device.readings[reading], device.timestamps[reading]
        if self._loaded_at.get((name, reading), 0) > since:  # the page does not have the stored ones yet
            since = 0
        points: list[list[float]] = []
        for at, value in zip(reversed(timestamps), reversed(values)):
            if at <= since:
                break
            points.append([at, value])
        known_until, description = self._charts.get((name, reading), (0.0, {}))
        if known_until != timestamps[-1]:  # several pages share the result
            quantity = find_quantity(reading)
            is_binary = reading in device.binary_readings
            description = {
                "unit": quantity.unit,
                "axis": chart.choose_axis(values, quantity.min_span, is_binary),
                "gap": chart.gap_limit(timestamps),
                "span": chart.choose_span(timestamps[-1] - timestamps[0]),
                "binary": is_binary,
            }
            self._charts[name, reading] = timestamps[-1], description
        return {**description, "points": points[::-1]}
