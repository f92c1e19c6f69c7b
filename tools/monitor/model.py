"""A watch with its alerts and its last events: what both faces of the monitor show."""

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

_HISTORY = 600  # values of a reading
_EVENTS = 200
_LINE = 200  # characters
_ROUNDS = 50


class MonitorModel:
    """`poll()` often. Nothing of it blocks but the first connect and name resolution."""

    def __init__(
        self, address: Address, prefix: str, rules: list[AlertRule], record: Path | None = None
    ) -> None:
        self.address = address
        self.prefix = prefix
        self.events: deque[tuple[float, str]] = deque(maxlen=_EVENTS)
        self.alerts = Alerts(rules, self.add_event)
        self.monitor = DeviceMonitor(address, prefix, history=_HISTORY, shared_broker=True)
        self.monitor.on_event = self.add_event
        self.monitor.on_reading = self._reading
        self._file: TextIO | None = record.open("a", newline="") if record else None
        self._rows = csv.writer(self._file) if self._file else None

    def connect(self) -> None:
        """For the first time; later it comes back by itself. Raises UserError."""
        try:
            self.monitor.connect()
        except (OSError, MQTTError) as error:
            raise UserError(
                f"{self.address} does not take us: {error}; `make doctor BROKER=...` tells more"
            ) from error

    def poll(self, ms: int = 0) -> None:
        """Take what has come, wait up to `ms` for more."""
        self.monitor.poll(ms)
        for _ in range(_ROUNDS):
            before = sum(device.message_count for device in self.monitor.devices.values())
            self.monitor.poll(0)
            if before == sum(device.message_count for device in self.monitor.devices.values()):
                break
        self.alerts.check_devices(self.monitor.devices)

    def close(self) -> None:
        self.monitor.close()
        if self._file:
            self._file.close()

    def add_event(self, text: str) -> None:
        """Something has happened."""
        self.events.append((time.time(), sanitize(text, _LINE)))

    def send_command(self, device: str, name: str, payload: str) -> str | None:
        """Send a command to a switch that there is; returns why not."""
        if payload not in ("ON", "OFF", "TOGGLE"):
            return "expected ON, OFF or TOGGLE"
        if name not in getattr(self.monitor.devices.get(device), "switches", {}):
            return "there is no such switch"
        if not self.monitor.is_connected:
            return "there is no link to the broker"
        self.monitor.command(device, name, payload)
        return None

    def _reading(self, device: str, name: str, value: float) -> None:
        self.alerts.handle_reading(device, name, value)
        if self._rows and self._file:
            self._rows.writerow([f"{time.time():.3f}", device, name, value])
            self._file.flush()

    def snapshot(self, since: float = 0.0) -> dict[str, Any]:
        """All that is known, as JSON has it; of readings the values that came after `since`."""
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
