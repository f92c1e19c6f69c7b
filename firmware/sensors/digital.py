"""Digital input: a contact, button or motion detector; ON or OFF, debounced, published immediately."""

from time import ticks_diff, ticks_ms

from micropython import const

from .schema import REQUIRED, merge_fields

FIELDS = merge_fields(
    pin=(object, REQUIRED, 0, 0, "a pin"),
    pull=(str, "up", 2, 4, "up, down or none"),
    invert=(bool, False, 0, 1, "true or false"),
    debounce=(float, 0.05, 0, 60, "seconds, 0 to 60"),
    device_class=(str, "", 0, 32, "a device class of Home Assistant"),
    wake=(bool, False, 0, 1, "true or false"),
    period=(float, 300, 0.1, 86400, "seconds, 0.1 to 86400"),
    qos=(int, 1, 0, 2, "0, 1 or 2"),
)
PIN_USES = {"pin": "INPUT_PINS"}
CHOICES = {"pull": ("up", "down", "none")}

_POLL = const(50)  # ms between polls; an interrupt alone would not end the wait for the network


def make(config, pins):
    return Digital(config, pins.digital_input(config["pin"], config["pull"]), pins.on_edge)


class Digital:
    """The driver for a `machine.Pin`; `on_edge(pin, handler, edge)` is the board's function.

    `wake` is True if a change of the pin wakes the board from deep sleep.
    """

    wake = False

    def __init__(self, config, pin, on_edge):
        self.quantities = ((config["name"], "", config["device_class"], 0, None),)
        self.has_changed = False
        self._pin = pin
        self._invert = 1 if config["invert"] else 0
        self._debounce = int(config["debounce"] * 1000)
        self._level = None  # debounced level
        self._last_level = None  # level at the last poll
        self._since = 0  # ticks of the last change
        self._edge = False
        if config["wake"]:
            self.wake = True
        on_edge(pin, self._interrupt, "both")

    def _interrupt(self, pin):
        self._edge = True

    def poll(self, now):
        """Read the pin; returns the time in ms until it has to be read again."""
        level = self._pin.value() ^ self._invert
        if self._edge or level != self._last_level:
            self._edge = False
            self._last_level, self._since = level, now
        if level == self._level:
            return _POLL
        left = self._debounce - ticks_diff(now, self._since)
        if self._level is not None and left > 0:
            return left
        self._level = level
        self.has_changed = True
        return _POLL

    def arm_wake(self, wake_on):
        """Make the next change wake the board; returns 1 if it is a change to ON, 0 if to OFF.

        `wake_on(pin, level)` is the board's function.
        """
        other = 0 if self._level else 1
        # after an edge since the last poll, the current level is used: it wakes the board immediately
        wake_on(self._pin, self._pin.value() if self._edge else other ^ self._invert)
        return other

    def on_wake(self, value):
        """Report the `value`, 1 (ON) or 0 (OFF), that woke the board, even if the pin has changed back."""
        self._level = value
        self.has_changed = True

    def start(self):
        if self._level is None:
            self.poll(ticks_ms())
        return 0

    def read(self, values):
        values[0] = "ON" if self._level else "OFF"
