"""Actuators: `name`, `command(payload)`, which raises ValueError, and `state()`."""

from .switch import Switch


def make(config, pins):
    """The actuator that a checked entry of the config describes."""
    return Switch(config["name"], pins.output(config["pin"]))
