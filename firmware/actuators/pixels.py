"""LED strip of NeoPixels (WS2812): all pixels in one color, with brightness."""

import json

from micropython import const

from .dimmable import Dimmable

_FULL = const(255)


def make(config, pins):
    return Pixels(config, pins.pixels(config["pin"], config["count"]))


class Pixels(Dimmable):
    """An LED strip; of `strip`, a `neopixel.NeoPixel`, only `fill((r, g, b))` and `write()` are used."""

    def __init__(self, config, strip):
        super().__init__(config)
        self._strip = strip
        self.color = (_FULL, _FULL, _FULL)
        self.write(self.on)

    def parse_value(self, text):
        """Return a color, #rrggbb, or a brightness as fields of a command."""
        if text[:1] != b"#":
            return super().parse_value(text)
        digits = text[1:].upper()
        is_color = len(digits) == 6
        for c in digits:
            is_color = is_color and c in b"0123456789ABCDEF"
        if not is_color:
            raise ValueError("expected a color as #rrggbb")
        value = int(digits, 16)
        return {"color": {"r": value >> 16, "g": value >> 8 & 255, "b": value & 255}}

    def update(self, fields):
        """Store the brightness and the color."""
        super().update(fields)
        color = fields.get("color", self.color)
        if color != self.color:
            self.color = color
            self.state_version += 1

    def write(self, on):
        scale = self.brightness * self._max_brightness if on else 0
        # rounded up: a strip that is on is never dark, whatever its brightness
        self._strip.fill(tuple([-(-part * scale // (_FULL * _FULL)) for part in self.color]))
        self._strip.write()

    def state(self):
        r, g, b = self.color
        return json.dumps(
            {
                "state": "ON" if self.on else "OFF",
                "brightness": self.brightness,
                "color_mode": "rgb",
                "color": {"r": r, "g": g, "b": b},
            }
        )
