"""Valve: a switch that is open or closed; by default it closes after 1 h open and after 60 s offline."""

from .switch import Switch, make_output


def make(config, pins):
    return Valve(config, *make_output(config, pins))


class Valve(Switch):
    """A valve on a `machine.Pin`."""

    platform = "valve"
    expected = "expected OPEN, CLOSE, TOGGLE or STOP"

    def parse_word(self, text):
        """Return whether a word opens the valve; STOP leaves it as it is, because it does not move slowly."""
        return self.on if text.upper() == b"STOP" else super().parse_word(text)

    def state(self):
        return "open" if self.on else "closed"
