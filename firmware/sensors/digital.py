"""Digital input: a contact, button or motion detector; ON or OFF, debounced, published immediately.

Each debounced change is reported, in order, also if the program was blocked while it happened.
"""

from micropython import const

from .edges import COUNT_MASK, EdgeFilter
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

_MAX_PENDING = const(16)  # maximum number of changes that wait to be reported; an even number


def make(config, pins):
    return Digital(config, pins.digital_input(config["pin"], config["pull"]), pins.on_edge)


class Digital:
    """The driver for a `machine.Pin`; `on_edge(pin, handler, edge)` is the board's function.

    `wake` is True if a change of the pin wakes the board from deep sleep.
    """

    wake = False

    def __init__(self, config, pin, on_edge):
        self.quantities = ((config["name"], "", config["device_class"], 0, None),)
        self._pin = pin
        self._invert = 1 if config["invert"] else 0
        self._filter = EdgeFilter(pin, on_edge, self._invert, int(config["debounce"] * 1000))
        self._level = self._filter.level  # level to report
        self._reported = 0  # number of changes of the filter's level up to this level
        self.has_changed = True  # the level at the start is reported, too
        if config["wake"]:
            self.wake = True

    def _pending(self):
        """Return the number of changes that have not been reported yet."""
        return (self._filter.changes - self._reported) & COUNT_MASK

    def poll(self, now):
        """Read the pin; returns the time in ms until it has to be read again."""
        # an interrupt alone would not end the wait for the network, so the pin is polled
        wait = self._filter.update()
        pending = self._pending()
        if pending and not self.has_changed:
            if pending > _MAX_PENDING:  # pairs of changes are dropped, so the last level stays right
                self._reported += (pending - _MAX_PENDING + 1) & ~1
            self._reported = (self._reported + 1) & COUNT_MASK
            self._level ^= 1
            self.has_changed = True
        return wait

    def arm_wake(self, wake_on):
        """Make the next change wake the board; returns 1 if it is a change to ON, 0 if to OFF.

        `wake_on(pin, level)` is the board's function.
        """
        self._filter.update()
        other = self._level ^ 1
        # if the level has changed since the last report, its present level wakes the board immediately
        is_idle = self._filter.is_settled and not self._pending()
        wake_on(self._pin, other ^ self._invert if is_idle else self._pin.value())
        return other

    def on_wake(self, value):
        """Report the `value`, 1 (ON) or 0 (OFF), that woke the board, even if the pin has changed back."""
        self._level = value
        self._reported = self._filter.changes
        if value != self._filter.level:
            self._reported = (self._reported - 1) & COUNT_MASK
        self.has_changed = True

    def start(self):
        return 0

    def read(self, values):
        values[0] = "ON" if self._level else "OFF"
