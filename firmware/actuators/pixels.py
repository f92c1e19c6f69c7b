"""A strip of NeoPixels in one colour."""

import json

from micropython import const

from .base import Actuator, limited

_FULL = const(255)


def make(config, pins):
    return Pixels(config, pins.pixels(config["pin"], config["count"]))


class Pixels(Actuator):
    """`strip` has `fill((r, g, b))` and `write()` as `neopixel.NeoPixel`."""

    platform = "light"
    takes = ("brightness", "color", "transition")  # they do not fade: the last is taken and left

    def __init__(self, config, strip):
        super().__init__(config)
        self._strip = strip
        self._most = config["most"]
        self.brightness = _FULL
        self.colour = (_FULL, _FULL, _FULL)
        self.on = self._safe == "ON"
        self.write(self.on)

    def command(self, payload, now):
        """Beside what all take: #rrggbb."""
        if bytes(payload[:1]) == b"#" and len(payload) == 7:
            try:
                value = int(bytes(payload[1:]), 16)
            except ValueError:
                raise ValueError("expected a colour as #rrggbb")
            self.allowed(True, now)
            self._paint((value >> 16, value >> 8 & 255, value & 255), self.brightness)
            self.switch(True, now)
        else:
            super().command(payload, now)

    def number(self, value, now):
        """Their brightness, 0 to 255; 0 is off."""
        limited("brightness", value, 0, _FULL)
        self.allowed(value > 0, now)
        if value:
            self._paint(self.colour, int(value))
        self.switch(value > 0, now)

    def set(self, wish, now):
        """`brightness`, 0 to 255; `color`, an object with r, g and b, as Home Assistant says it."""
        brightness = limited("brightness", wish.get("brightness", self.brightness), 1, _FULL)
        colour = self.colour
        if "color" in wish:
            parts = wish["color"]
            if not isinstance(parts, dict) or sorted(parts) != ["b", "g", "r"]:
                raise ValueError("color: expected an object with r, g and b")
            colour = tuple([int(limited("color." + c, parts[c], 0, _FULL)) for c in "rgb"])
        self._paint(colour, int(brightness))

    def _paint(self, colour, brightness):
        if colour != self.colour or brightness != self.brightness:
            self.colour, self.brightness = colour, brightness
            self.changes += 1

    def write(self, on):
        scale = self.brightness * self._most if on else 0
        self._strip.fill(tuple([part * scale // (_FULL * _FULL) for part in self.colour]))
        self._strip.write()

    def state(self):
        r, g, b = self.colour
        return json.dumps(
            {
                "state": "ON" if self.on else "OFF",
                "brightness": self.brightness,
                "color_mode": "rgb",
                "color": {"r": r, "g": g, "b": b},
            }
        )
