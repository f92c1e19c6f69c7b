"""A watch with its alerts and its last events: what both faces of the monitor show."""

from __future__ import annotations

import csv
import time
from collections import deque
from pathlib import Path
from typing import Any, TextIO

from tools.broker import Address
from tools.errors import Problem
from tools.monitor.alerts import Alerts, Rule
from tools.monitor.device_state import UNITS, Watch, shown
from umqtt5 import MQTTError

_HISTORY = 600  # values of a reading
_EVENTS = 200
_LINE = 200  # characters
_ROUNDS = 50


class Hub:
    """`poll()` often. Nothing of it blocks but the first connect and name resolution."""

    def __init__(self, address: Address, prefix: str, rules: list[Rule], record: Path | None = None) -> None:
        self.address = address
        self.prefix = prefix
        self.events: deque[tuple[float, str]] = deque(maxlen=_EVENTS)
        self.alerts = Alerts(rules, self.say)
        self.watch = Watch(address, prefix, history=_HISTORY, guest=True)
        self.watch.on_event = self.say
        self.watch.on_reading = self._reading
        self._file: TextIO | None = record.open("a", newline="") if record else None
        self._rows = csv.writer(self._file) if self._file else None

    def connect(self) -> None:
        """For the first time; later it comes back by itself. Raises Problem."""
        try:
            self.watch.connect()
        except (OSError, MQTTError) as error:
            raise Problem(
                f"{self.address} does not take us: {error}; `make doctor BROKER=...` tells more"
            ) from error

    def poll(self, ms: int = 0) -> None:
        """Take what has come, wait up to `ms` for more."""
        self.watch.poll(ms)
        for _ in range(_ROUNDS):
            before = sum(device.received for device in self.watch.devices.values())
            self.watch.poll(0)
            if before == sum(device.received for device in self.watch.devices.values()):
                break
        self.alerts.look(self.watch.devices)

    def close(self) -> None:
        self.watch.close()
        if self._file:
            self._file.close()

    def say(self, text: str) -> None:
        """Something has happened."""
        self.events.append((time.time(), shown(text, _LINE)))

    def switch(self, device: str, name: str, word: str) -> str | None:
        """Send a command to a switch that there is; returns why not."""
        if word not in ("ON", "OFF", "TOGGLE"):
            return "expected ON, OFF or TOGGLE"
        if name not in getattr(self.watch.devices.get(device), "switches", {}):
            return "there is no such switch"
        if not self.watch.linked:
            return "there is no link to the broker"
        self.watch.command(device, name, word)
        return None

    def _reading(self, device: str, name: str, value: float) -> None:
        self.alerts.reading(device, name, value)
        if self._rows and self._file:
            self._rows.writerow([f"{time.time():.3f}", device, name, value])
            self._file.flush()

    def state(self, since: float = 0.0) -> dict[str, Any]:
        """All that is known, as JSON has it; of readings the values that came after `since`."""
        return {
            "broker": str(self.address),
            "prefix": self.prefix,
            "linked": self.watch.linked,
            "dropped": self.watch.dropped,
            "now": time.time(),
            "events": [[at, text] for at, text in self.events if at > since],
            "devices": {
                name: {
                    "status": device.status,
                    "heard": device.heard,
                    "alerts": self.alerts.of(name),
                    "switches": device.switches,
                    "health": device.health,
                    "readings": {
                        reading: {
                            "unit": UNITS.get(reading, ""),
                            "points": [
                                [at, value] for at, value in zip(device.times[reading], values) if at > since
                            ],
                        }
                        for reading, values in device.readings.items()
                    },
                }
                for name, device in self.watch.devices.items()
                if device.heard > since or not since or self.alerts.of(name)
            },
        }
