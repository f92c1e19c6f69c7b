"""A relay, a pump, a plain output: on or off."""

from .base import Actuator


def make(config, pins):
    return Switch(config, pins.output(config["pin"]))


class Switch(Actuator):
    """`output` is a `machine.Pin` or whatever has its `value()`."""

    def __init__(self, config, output):
        super().__init__(config)
        self._output = output
        self._inverted = config["inverted"]
        self.on = bool(output.value()) != self._inverted
        # it is as a restart has left it; `safe` says whether that may be
        if self._safe != "HOLD":
            self.write(self._safe == "ON")
            self.on = self._safe == "ON"

    def write(self, on):
        self._output.value(1 if on != self._inverted else 0)
