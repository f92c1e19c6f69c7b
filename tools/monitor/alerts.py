"""Alerts of the monitor: readings that violate a rule, devices that are offline or silent."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from tools.errors import UserError
from tools.monitor.device_state import DeviceState
from tools.monitor.quantities import find_quantity, format_number

_NUMBER = r"([+-]?\d+(?:\.\d+)?)"
# the first slash ends the device, because a reading such as air/temperature has one, too
_RULE = re.compile(
    rf"(?P<device>[^/<>]+)/(?P<reading>[^<>\s]+?)(?:\s+(?P<word>above|below)\s+|\s*(?P<sign>[<>])\s*)"
    rf"(?P<limit>{_NUMBER})(?:\s+until\s+(?P<until>{_NUMBER}))?"
)
_SILENT_FACTOR = 5  # a device is silent after this many times its usual interval between messages
_MIN_SILENCE = 30.0  # seconds


@dataclass(frozen=True)
class AlertRule:
    """An alert rule: a limit of a reading. If `device` is `*`, it applies to every device."""

    device: str
    reading: str
    comparison: str  # "above" or "below": the rule is violated if the value is above or below the limit
    limit: float
    until: float  # the alert ends when the value has reached this on its way back

    def applies_to(self, device: str, reading: str) -> bool:
        """Return whether this rule is for the reading of this device."""
        return self.device in ("*", device) and self.reading == reading

    def is_violated(self, value: float, was_violated: bool = False) -> bool:
        """Return whether `value` violates this rule; an alert goes on until the value reaches `until`."""
        sign = 1 if self.comparison == "above" else -1
        if was_violated and self.until != self.limit:
            return sign * value > sign * self.until
        return sign * value > sign * self.limit


def parse_rule(text: str) -> AlertRule:
    """Parse a rule such as `kitchen/load above 2` or `*/chip_temperature above 70 until 65`.

    `>` and `<` stand for `above` and `below`. Raises UserError.
    """
    match = _RULE.fullmatch(text.strip())
    if not match:
        raise UserError(
            f"--alert {text}: expected device/reading above number, or below, such as kitchen/load above 2. "
            "* is any device"
        )
    comparison = match["word"] or {">": "above", "<": "below"}[match["sign"]]
    limit = float(match["limit"])
    until = float(match["until"] or limit)
    if until > limit if comparison == "above" else until < limit:
        side = "below" if comparison == "above" else "above"
        raise UserError(
            f"--alert {text}: the alert would never end. Choose a number {side} {limit:g} after until"
        )
    return AlertRule(match["device"], match["reading"], comparison, limit, until)


class Alerts:
    """Active alerts, by device and reading; the reading is empty in alerts about the device itself.

    `on_change` is called with a text when an alert starts or ends.
    """

    def __init__(self, rules: list[AlertRule], on_change: Callable[[str], None]) -> None:
        self.active: dict[tuple[str, str], str] = {}
        self._rules = rules
        self._on_change = on_change
        self._violated: set[tuple[str, AlertRule]] = set()  # device and rule
        self._intervals: dict[str, float] = {}  # seconds between messages, by device
        self._last_seen: dict[str, float] = {}  # seconds since the epoch, by device

    def handle_reading(self, device: str, name: str, value: float) -> None:
        """Check a new reading against the rules."""
        violated = []
        for rule in self._rules:
            if not rule.applies_to(device, name):
                continue
            if rule.is_violated(value, (device, rule) in self._violated):
                self._violated.add((device, rule))
                violated.append(rule)
            else:
                self._violated.discard((device, rule))
        if violated:
            unit = find_quantity(name).unit
            number = f"{format_number(value)} {unit}".rstrip()
            if violated[0].is_violated(value):
                text = f"{name} {number} is {violated[0].comparison} {format_number(violated[0].limit)}"
            else:
                text = f"{name} {number} has not reached {format_number(violated[0].until)}"
            self._start(device, name, text)
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
