"""Pulse counter for meters (water, gas, electricity): total count and rate.

The count is stored in the file `pulse-<name>`, which is written every `save` seconds if the count has
changed, and before the device resets itself. After a power cut the pulses since the last write are lost.
"""

import os
from time import ticks_diff, ticks_ms

from . import MEASUREMENT
from .schema import REQUIRED, merge_fields

FIELDS = merge_fields(
    pin=(object, REQUIRED, 0, 0, "a pin"),
    pull=(str, "up", 2, 4, "up, down or none"),
    edge=(str, "falling", 6, 7, "rising or falling"),
    debounce=(float, 0, 0, 1, "seconds, 0 to 1"),
    per_unit=(float, 1, 1e-6, 1e9, "the number of pulses per unit"),
    unit=(str, "", 0, 16, "a unit"),
    rate_unit=(str, "", 0, 16, "a unit"),
    rate_time=(float, 60, 1, 86400, "seconds, 1 to 86400"),
    device_class=(str, "", 0, 32, "a device class of Home Assistant"),
    save=(float, 600, 10, 86400, "seconds, 10 to 86400"),
)
PIN_USES = {"pin": "INPUT_PINS"}
CHOICES = {"pull": ("up", "down", "none"), "edge": ("rising", "falling")}


def make(config, pins):
    pin = pins.digital_input(config["pin"], config["pull"])
    return Pulse(config, pin, pins.on_edge)


class Pulse:
    """The driver for a `machine.Pin`; `on_edge(pin, handler, edge)` is the board's function."""

    def __init__(self, config, pin, on_edge):
        unit = config["unit"]
        self.quantities = (
            ("count", unit, config["device_class"], 3 if config["per_unit"] != 1 else 0, "total_increasing"),
            ("rate", config["rate_unit"], "", 2, MEASUREMENT),
        )
        self._path = "pulse-" + config["name"]
        self._per_unit = config["per_unit"]
        self._rate_time = config["rate_time"] * 1000
        self._save = int(config["save"] * 1000)
        self._debounce = int(config["debounce"] * 1000)
        self._pulse_at = self._read_at = self._saved_at = ticks_ms()
        self._before = self._saved = self._load()
        self._pulses = 0  # number of pulses since the start
        self._first = True
        self._last_pulses = 0  # `_pulses` at the last reading
        on_edge(pin, self._interrupt, config["edge"])

    def _interrupt(self, pin):
        if self._debounce:
            now = ticks_ms()
            if not self._first and ticks_diff(now, self._pulse_at) < self._debounce:
                return
            self._pulse_at = now
            self._first = False
        self._pulses += 1

    def _load(self):
        # the old file is removed only after the new one has been written, so one of them is always complete
        for path in (self._path + ".new", self._path):
            try:
                with open(path) as file:
                    text = file.read()
                if text.endswith("\n"):
                    return max(0, int(text))
            except (OSError, ValueError, MemoryError):
                pass
        return 0

    def start(self):
        return 0

    def read(self, values):
        now = ticks_ms()
        pulses = self._pulses
        gone = ticks_diff(now, self._read_at)
        values[0] = (self._before + pulses) / self._per_unit if self._per_unit != 1 else self._before + pulses
        values[1] = None  # no rate if no time has passed since the last reading
        if gone > 0:
            values[1] = (pulses - self._last_pulses) / self._per_unit * self._rate_time / gone
        self._last_pulses, self._read_at = pulses, now
        if ticks_diff(now, self._saved_at) >= self._save:
            self._saved_at = now
            self.save()

    def save(self):
        """Write the count to flash if it has changed. Raises OSError."""
        count = self._before + self._pulses
        if count == self._saved:
            return
        with open(self._path + ".new", "w") as file:
            file.write("%d\n" % count)
        try:
            os.remove(self._path)
        except OSError:
            pass
        os.rename(self._path + ".new", self._path)
        self._saved = count
