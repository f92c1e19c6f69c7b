"""Data model of the monitor, shared by terminal and web page: device state, alerts, events, CSV recording."""

from __future__ import annotations

import csv
import time
from collections import deque
from pathlib import Path
from typing import Any, TextIO

from tools.broker import Address
from tools.errors import UserError
from tools.monitor.alerts import AlertRule, Alerts
from tools.monitor.device_state import UNITS, DeviceMonitor, sanitize
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

    Only the first connect and each name resolution block. Readings are appended to the CSV file `record`
    unless it is None.
    """

    def __init__(
        self, address: Address, prefix: str, rules: list[AlertRule], record: Path | None = None
    ) -> None:
        self.address = address
        self.prefix = prefix
        self.events: deque[tuple[float, str]] = deque(maxlen=_MAX_EVENTS)  # time (s since the epoch), text
        self.alerts = Alerts(rules, self.add_event)
        self.monitor = DeviceMonitor(address, prefix, history=_HISTORY, shared_broker=True)
        self.monitor.on_event = self.add_event
        self.monitor.on_reading = self._on_reading
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

    def close(self) -> None:
        """Disconnect, and close the CSV file."""
        self.monitor.close()
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

    def _on_reading(self, device: str, name: str, value: float) -> None:
        self.alerts.handle_reading(device, name, value)
        if self._rows and self._file:
            self._rows.writerow([f"{time.time():.3f}", device, name, value])
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
                name: {
                    "status": device.status,
                    "last_seen": device.last_seen,
                    "alerts": self.alerts.for_device(name),
                    "switches": device.switches,
                    "health": device.health,
                    "readings": {
                        reading: {
                            "unit": UNITS.get(reading, ""),
                            "points": [
                                [at, value]
                                for at, value in zip(device.timestamps[reading], values)
                                if at > since
                            ],
                        }
                        for reading, values in device.readings.items()
                    },
                }
                for name, device in self.monitor.devices.items()
                if device.last_seen > since or not since or self.alerts.for_device(name)
            },
        }
