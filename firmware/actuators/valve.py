"""Valve: a switch that is open or closed; by default it closes after an hour and when offline for 60 s."""

from .switch import Switch


def make(config, pins):
    return Valve(config, pins.output(config["pin"]))


class Valve(Switch):
    """A valve on a `machine.Pin`."""

    platform = "valve"

    def state(self):
        return "open" if self.on else "closed"
