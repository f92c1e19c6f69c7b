"""LED strip of NeoPixels (WS2812): all pixels in one color, with brightness."""

import json

from micropython import const

from .base import Actuator, check_range

_FULL = const(255)


def make(config, pins):
    return Pixels(config, pins.pixels(config["pin"], config["count"]))


class Pixels(Actuator):
    """An LED strip; of `strip`, a `neopixel.NeoPixel`, only `fill((r, g, b))` and `write()` are used."""

    platform = "light"
    command_fields = ("brightness", "color", "transition")  # `transition` is accepted and ignored

    def __init__(self, config, strip):
        super().__init__(config)
        self._strip = strip
        self._max_brightness = config["max_brightness"]
        self.brightness = _FULL
        self.color = (_FULL, _FULL, _FULL)
        self.on = self._safe == "ON"
        self.write(self.on)

    def command(self, payload, now):
        """Execute a command: #rrggbb, or a command that all actuators accept."""
        if bytes(payload[:1]) == b"#" and len(payload) == 7:
            try:
                value = int(bytes(payload[1:]), 16)
            except ValueError:
                raise ValueError("expected a color as #rrggbb")
            self.check_allowed(True, now)
            self._set_color((value >> 16, value >> 8 & 255, value & 255), self.brightness)
            self.switch(True, now)
        else:
            super().command(payload, now)

    def set(self, value, now):
        """Set the brightness, 0 to 255; 0 switches off."""
        check_range("brightness", value, 0, _FULL)
        self.check_allowed(value > 0, now)
        if value:
            self._set_color(self.color, int(value))
        self.switch(value > 0, now)

    def update(self, fields, now):
        """Apply `brightness`, 1 to 255, and `color`, an object with r, g and b as in Home Assistant."""
        brightness = check_range("brightness", fields.get("brightness", self.brightness), 1, _FULL)
        color = self.color
        if "color" in fields:
            parts = fields["color"]
            if not isinstance(parts, dict) or sorted(parts) != ["b", "g", "r"]:
                raise ValueError("color: expected an object with r, g and b")
            color = tuple([int(check_range("color." + c, parts[c], 0, _FULL)) for c in "rgb"])
        self._set_color(color, int(brightness))

    def _set_color(self, color, brightness):
        if color != self.color or brightness != self.brightness:
            self.color, self.brightness = color, brightness
            self.state_version += 1

    def write(self, on):
        scale = self.brightness * self._max_brightness if on else 0
        self._strip.fill(tuple([part * scale // (_FULL * _FULL) for part in self.color]))
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
