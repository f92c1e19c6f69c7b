"""Valve: a switch that is open or closed; by default it closes after 1 h open and after 60 s offline."""

from .switch import Switch


def make(config, pins):
    return Valve(config, pins.output(config["pin"]))


class Valve(Switch):
    """A valve on a `machine.Pin`."""

    platform = "valve"

    def state(self):
        return "open" if self.on else "closed"
