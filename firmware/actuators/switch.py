"""A lamp, a relay, whatever is on or off."""

_ON = (b"ON", b"1")
_OFF = (b"OFF", b"0")


class Switch:
    """`output` is a `machine.Pin` or whatever has its `value()`."""

    def __init__(self, name, output):
        self.name = name
        self._output = output

    def command(self, payload):
        """ON, OFF or TOGGLE, in any case, or 1 or 0. Raises ValueError and changes nothing else."""
        word = payload.upper() if len(payload) < 8 else b""
        if word in _ON:
            self._output.value(1)
        elif word in _OFF:
            self._output.value(0)
        elif word == b"TOGGLE":
            self._output.value(0 if self._output.value() else 1)
        else:
            raise ValueError("not understood, expected ON, OFF or TOGGLE")

    def state(self):
        return "ON" if self._output.value() else "OFF"
