"""Alerts of the monitor: readings that violate a rule, devices that are offline or silent."""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from tools.errors import UserError
from tools.monitor.device_state import DeviceState

_RULE = re.compile(r"([^/<>]+)/([^/<>]+)([<>])(-?\d+(?:\.\d+)?)")
_SILENT_FACTOR = 5  # a device is silent after this many times its usual interval between messages
_MIN_SILENCE = 30.0  # seconds


@dataclass(frozen=True)
class AlertRule:
    """An alert rule: a limit of a reading. If `device` is `*`, it applies to every device."""

    device: str
    reading: str
    comparison: str  # "<" or ">": the rule is violated if the value is below or above the limit
    limit: float

    def is_violated(self, device: str, reading: str, value: float) -> bool:
        """Return whether this rule is for the reading of this device, and `value` violates it."""
        compare = operator.gt if self.comparison == ">" else operator.lt
        return self.device in ("*", device) and self.reading == reading and compare(value, self.limit)


def parse_rule(text: str) -> AlertRule:
    """Parse a rule such as `kitchen/load>2` or `*/chip_temperature>70`. Raises UserError."""
    match = _RULE.fullmatch(text.strip())
    if not match:
        raise UserError(
            f"--alert {text}: expected device/reading>number, such as kitchen/load>2, or * for any device"
        )
    return AlertRule(match[1], match[2], match[3], float(match[4]))


class Alerts:
    """Active alerts, by device and reading; the reading is empty in alerts about the device itself.

    `on_change` is called with a text when an alert starts or ends.
    """

    def __init__(self, rules: list[AlertRule], on_change: Callable[[str], None]) -> None:
        self.active: dict[tuple[str, str], str] = {}
        self._rules = rules
        self._on_change = on_change
        self._intervals: dict[str, float] = {}  # seconds between messages, by device
        self._last_seen: dict[str, float] = {}  # seconds since the epoch, by device

    def handle_reading(self, device: str, name: str, value: float) -> None:
        """Check a new reading against the rules."""
        violated = [rule for rule in self._rules if rule.is_violated(device, name, value)]
        if violated:
            self._start(device, name, f"{name} {value:g} {violated[0].comparison} {violated[0].limit:g}")
        else:
            self._end(device, name)

    def check_devices(self, devices: dict[str, DeviceState], now: float | None = None) -> None:
        """Start or end the alerts of devices that are offline or silent.

        A device is silent if its last message is older than 30 s and than five times its usual interval
        (the longest recent interval between messages). `now` is in seconds since the epoch.
        """
        now = time.time() if now is None else now
        for name, device in devices.items():
            before = self._last_seen.get(name)
            if before and device.last_seen > before:
                interval = device.last_seen - before
                self._intervals[name] = max(self._intervals.get(name, 0) * 0.9, interval)
            self._last_seen[name] = device.last_seen
            silence = now - device.last_seen
            if device.status == "offline":
                self._start(name, "", "offline")
            elif name in self._intervals and silence > max(
                _MIN_SILENCE, _SILENT_FACTOR * self._intervals[name]
            ):
                self._start(name, "", "silent")
            else:
                self._end(name, "")

    def for_device(self, device: str) -> list[str]:
        """Return the texts of a device's active alerts."""
        return [text for (name, _), text in self.active.items() if name == device]

    def _start(self, device: str, reading: str, text: str) -> None:
        if (device, reading) not in self.active:
            self._on_change(f"ALERT {device}: {text}")
        self.active[device, reading] = text

    def _end(self, device: str, reading: str) -> None:
        if self.active.pop((device, reading), None):
            self._on_change(f"{device}: {reading} is back to normal" if reading else f"{device} is back")
