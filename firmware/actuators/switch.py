"""Switch: a relay, a pump or any other output that is on or off."""

from .base import Actuator


def make(config, pins):
    return Switch(config, *make_output(config, pins))


def make_output(config, pins):
    """Return the output of a switch and whether it is on.

    If `safe` is HOLD, an output that the board still drives keeps its level, except if it has a `max_on`: the
    time for which it has been on is not known.
    """
    on = config["safe"] == "ON"
    inverted = config["inverted"]
    if config["safe"] == "HOLD" and not config["max_on"] and hasattr(pins, "driven_level"):
        level = pins.driven_level(config["pin"])
        on = level is not None and bool(level) != inverted
    output = pins.output(config["pin"], 1) if on != inverted else pins.output(config["pin"])
    return output, on


class Switch(Actuator):
    """A switch on the pin `output`, a `machine.Pin`; only its method `value()` is used.

    `on` is the state that the output has; None to read its level.
    """

    def __init__(self, config, output, on=None):
        super().__init__(config)
        self._output = output
        self._inverted = config["inverted"]
        self.on = bool(output.value()) != self._inverted if on is None else on

    def write(self, on):
        self._output.value(1 if on != self._inverted else 0)
