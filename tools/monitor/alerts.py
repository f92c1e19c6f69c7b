"""What a person wants to be told: a reading out of its range, a device that has gone silent."""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from tools.errors import Problem
from tools.monitor.device_state import DeviceState

_RULE = re.compile(r"([^/<>]+)/([^/<>]+)([<>])(-?\d+(?:\.\d+)?)")
_SILENT = 5  # times the usual pause between two messages
_SHORTEST = 30.0  # s


@dataclass(frozen=True)
class Rule:
    """`device` may be `*`."""

    device: str
    reading: str
    sign: str
    limit: float

    def breached(self, device: str, reading: str, value: float) -> bool:
        compare = operator.gt if self.sign == ">" else operator.lt
        return self.device in ("*", device) and self.reading == reading and compare(value, self.limit)


def parse(text: str) -> Rule:
    """`kitchen/load>2`, `*/chip_temperature>70`. Raises Problem."""
    match = _RULE.fullmatch(text.strip())
    if not match:
        raise Problem(
            f"--alert {text}: expected device/reading>number, such as kitchen/load>2, or * for any device"
        )
    return Rule(match[1], match[2], match[3], float(match[4]))


class Alerts:
    """The alerts of now, by what they are about; `say` is told when one comes or goes."""

    def __init__(self, rules: list[Rule], say: Callable[[str], None]) -> None:
        self.now: dict[tuple[str, str], str] = {}
        self._rules = rules
        self._say = say
        self._pauses: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    def reading(self, device: str, name: str, value: float) -> None:
        """A reading has come."""
        broken = [rule for rule in self._rules if rule.breached(device, name, value)]
        if broken:
            self._raise(device, name, f"{name} {value:g} {broken[0].sign} {broken[0].limit:g}")
        else:
            self._end(device, name)

    def look(self, devices: dict[str, DeviceState], now: float | None = None) -> None:
        """Which devices are offline, or silent for longer than is usual of them."""
        now = time.time() if now is None else now
        for name, device in devices.items():
            before = self._heard.get(name)
            if before and device.heard > before:
                self._pauses[name] = max(self._pauses.get(name, 0) * 0.9, device.heard - before)
            self._heard[name] = device.heard
            silent = now - device.heard
            if device.status == "offline":
                self._raise(name, "", "offline")
            elif name in self._pauses and silent > max(_SHORTEST, _SILENT * self._pauses[name]):
                self._raise(name, "", "says nothing any more")
            else:
                self._end(name, "")

    def of(self, device: str) -> list[str]:
        """What is wrong with a device now."""
        return [text for (name, _), text in self.now.items() if name == device]

    def _raise(self, device: str, what: str, text: str) -> None:
        if (device, what) not in self.now:
            self._say(f"ALERT {device}: {text}")
        self.now[device, what] = text

    def _end(self, device: str, what: str) -> None:
        if self.now.pop((device, what), None):
            self._say(f"{device}: {what or 'there'} again as it should be")
