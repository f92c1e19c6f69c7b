"""What a person wants to be told: a reading out of its range, a device that has gone silent."""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from tools.errors import UserError
from tools.monitor.device_state import DeviceState

_RULE = re.compile(r"([^/<>]+)/([^/<>]+)([<>])(-?\d+(?:\.\d+)?)")
_SILENT = 5  # times the usual pause between two messages
_SHORTEST = 30.0  # s


@dataclass(frozen=True)
class AlertRule:
    """`device` may be `*`."""

    device: str
    reading: str
    comparison: str
    limit: float

    def is_violated(self, device: str, reading: str, value: float) -> bool:
        compare = operator.gt if self.comparison == ">" else operator.lt
        return self.device in ("*", device) and self.reading == reading and compare(value, self.limit)


def parse_rule(text: str) -> AlertRule:
    """`kitchen/load>2`, `*/chip_temperature>70`. Raises UserError."""
    match = _RULE.fullmatch(text.strip())
    if not match:
        raise UserError(
            f"--alert {text}: expected device/reading>number, such as kitchen/load>2, or * for any device"
        )
    return AlertRule(match[1], match[2], match[3], float(match[4]))


class Alerts:
    """The alerts of now, by what they are about; `say` is told when one comes or goes."""

    def __init__(self, rules: list[AlertRule], on_change: Callable[[str], None]) -> None:
        self.active: dict[tuple[str, str], str] = {}
        self._rules = rules
        self._say = on_change
        self._pauses: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    def handle_reading(self, device: str, name: str, value: float) -> None:
        """A reading has come."""
        broken = [rule for rule in self._rules if rule.is_violated(device, name, value)]
        if broken:
            self._raise(device, name, f"{name} {value:g} {broken[0].comparison} {broken[0].limit:g}")
        else:
            self._end(device, name)

    def check_devices(self, devices: dict[str, DeviceState], now: float | None = None) -> None:
        """Which devices are offline, or silent for longer than is usual of them."""
        now = time.time() if now is None else now
        for name, device in devices.items():
            before = self._heard.get(name)
            if before and device.last_seen > before:
                self._pauses[name] = max(self._pauses.get(name, 0) * 0.9, device.last_seen - before)
            self._heard[name] = device.last_seen
            silent = now - device.last_seen
            if device.status == "offline":
                self._raise(name, "", "offline")
            elif name in self._pauses and silent > max(_SHORTEST, _SILENT * self._pauses[name]):
                self._raise(name, "", "says nothing any more")
            else:
                self._end(name, "")

    def for_device(self, device: str) -> list[str]:
        """What is wrong with a device now."""
        return [text for (name, _), text in self.active.items() if name == device]

    def _raise(self, device: str, what: str, text: str) -> None:
        if (device, what) not in self.active:
            self._say(f"ALERT {device}: {text}")
        self.active[device, what] = text

    def _end(self, device: str, what: str) -> None:
        if self.active.pop((device, what), None):
            self._say(f"{device}: {what or 'there'} again as it should be")
