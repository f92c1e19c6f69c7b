"""A valve: a switch that says open and closed, and closes by itself: after an hour, without a link."""

from .switch import Switch


def make(config, pins):
    return Valve(config, pins.output(config["pin"]))


class Valve(Switch):
    platform = "valve"

    def state(self):
        return "open" if self.on else "closed"
