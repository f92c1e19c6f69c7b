"""A valve: a switch that says open and closed, and closes by itself: after an hour, without a link."""

from .switch import FIELDS as SWITCH
from .switch import Switch

FIELDS = dict(SWITCH)
FIELDS.update(
    max_on=(float, 3600, 1, 86400, "seconds that it may be open, 1 to 86400"),
    safe=(str, "OFF", 2, 4, "ON, OFF or HOLD"),
)


def make(config, pins):
    return Valve(config, pins.output(config["pin"]))


class Valve(Switch):
    platform = "valve"

    def state(self):
        return "open" if self.on else "closed"
