"""Sensors: `name`, `unit`, `device_class`, `period` in ms, and `read()`, which returns a number."""


class Reading:
    """A value that the board itself can tell: one of `pins.READINGS`."""

    def __init__(self, name, period, reading):
        self.name = name
        self.period = period
        self.read, self.unit, self.device_class = reading


def make(config, pins):
    """The sensor that a checked entry of the config describes."""
    return Reading(config["name"], int(config["period"] * 1000), pins.READINGS[config["kind"]])
