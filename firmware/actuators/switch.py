"""Switch: a relay, a pump or any other output that is on or off."""

from .base import Actuator


def make(config, pins):
    return Switch(config, pins.output(config["pin"]))


class Switch(Actuator):
    """A switch on the pin `output`, a `machine.Pin`; only its method `value()` is used."""

    def __init__(self, config, output):
        super().__init__(config)
        self._output = output
        self._inverted = config["inverted"]
        self.on = bool(output.value()) != self._inverted
        # if `safe` is HOLD, the output keeps the level that `pins.output` gave it
        if self._safe != "HOLD":
            self.write(self._safe == "ON")
            self.on = self._safe == "ON"

    def write(self, on):
        self._output.value(1 if on != self._inverted else 0)
