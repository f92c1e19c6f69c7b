"""Pulse counter for meters (water, gas, electricity): total count and rate.

The count is stored in the file `pulse-<name>`, which is written every `save` seconds if the count has
changed, and before the device resets itself. After a power cut the pulses since the last write are lost.

Without `debounce`, edges are counted. With `debounce`, pulses are counted: the level must last for this time.
"""

import os
from time import ticks_diff, ticks_ms

from micropython import const

from . import MEASUREMENT
from .edges import COUNT_MASK, EdgeFilter
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


_IDLE = const(1000)  # ms


def make(config, pins):
    pin = pins.digital_input(config["pin"], config["pull"])
    return Pulse(config, pin, pins.on_edge)


class Pulse:
    """The driver for a `machine.Pin`; `on_edge(pin, handler, edge)` is the board's function."""

    has_changed = False  # readings are published periodically

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
        self._read_at = self._saved_at = ticks_ms()
        self._count = self._saved = self._load()
        self._last_count = self._count  # count at the last reading
        self._edges = 0  # number of edges since the start, modulo 2**30
        self._counted = 0  # number of edges, or of changes of the filter's level, that `_count` includes
        self._filter = None
        if config["debounce"]:
            invert = 1 if config["edge"] == "falling" else 0  # a pulse is low or high
            self._filter = EdgeFilter(pin, on_edge, invert, int(config["debounce"] * 1000))
            self._level = self._filter.level  # level after the changes that `_count` includes
        else:
            on_edge(pin, self._on_interrupt, config["edge"])

    def _on_interrupt(self, pin):
        self._edges = (self._edges + 1) & COUNT_MASK  # must not allocate memory

    def poll(self, now):
        """Add the new pulses to the count; returns the time in ms until the next call."""
        wait = _IDLE
        if self._filter:
            wait = self._filter.update()
            edges = self._filter.changes
            new = (edges - self._counted) & COUNT_MASK
            # changes alternate: the first one is the start of a pulse if the level was 0
            self._count += (new + 1 - self._level) // 2
            self._level ^= new & 1
        else:
            edges = self._edges
            self._count += (edges - self._counted) & COUNT_MASK
        self._counted = edges
        return wait

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
        self.poll(now)
        count = self._count
        gone = ticks_diff(now, self._read_at)
        values[0] = count / self._per_unit if self._per_unit != 1 else count
        values[1] = None  # no rate if no time has passed since the last reading
        if gone > 0:
            values[1] = (count - self._last_count) / self._per_unit * self._rate_time / gone
        self._last_count, self._read_at = count, now
        if ticks_diff(now, self._saved_at) >= self._save:
            self._saved_at = now
            try:
                self.save()
            except OSError as error:  # the count is still right
                print("%s: %s" % (self._path, error))

    def save(self):
        """Write the count to flash if it has changed. Raises OSError."""
        self.poll(0)
        count = self._count
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
