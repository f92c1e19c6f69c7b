"""Base class of lights and pixels: the commands of Home Assistant's JSON schema for lights."""

from micropython import const

from .base import Actuator, check_range

_FULL = const(255)
_MAX_COLOR_TEMPERATURE = const(20000)


class Dimmable(Actuator):
    """An actuator with brightness, 1 to 255.

    `flash`, `effect`, `color_temp` and, for a light without colors, `color` are accepted and have no effect,
    so that a scene of Home Assistant switches the light.
    """

    platform = "light"
    command_fields = ("for", "brightness", "transition", "color", "color_temp", "effect", "flash")
    expected = "expected ON, OFF, TOGGLE or a brightness, 0 to 255"

    def __init__(self, config):
        super().__init__(config)
        self._max_brightness = config["max_brightness"]
        self.brightness = _FULL  # brightness when the light is on
        self.on = self._safe == "ON"

    def parse_value(self, text):
        """Return the brightness as fields of a command; 0 switches off, 1 switches on."""
        from .command_json import parse_number

        try:
            value = parse_number(text.decode())
        except (ValueError, UnicodeError):
            raise ValueError(self.expected)
        return {"state": "ON"} if value == 1 else {"brightness": value}

    def check(self, fields, on):
        """Check the fields; a brightness of 0 switches off."""
        from .command_json import check_whole

        if "brightness" in fields:
            if not check_whole("brightness", fields["brightness"], 0, _FULL):
                del fields["brightness"]
                on = False
        if "transition" in fields:
            check_range("transition", fields["transition"], 0, 60)
        if "color" in fields:
            color = fields["color"]
            if not isinstance(color, dict) or sorted(color) != ["b", "g", "r"]:
                raise ValueError("color: expected an object with r, g and b")
            fields["color"] = tuple([check_whole("color." + c, color[c], 0, _FULL) for c in "rgb"])
        if "color_temp" in fields:
            check_range("color_temp", fields["color_temp"], 1, _MAX_COLOR_TEMPERATURE)
        if "effect" in fields and not isinstance(fields["effect"], str):
            raise ValueError("effect: expected a string")
        if "flash" in fields and fields["flash"] not in ("short", "long"):
            check_range("flash", fields["flash"], 0, 60)
        if on is None and ("brightness" in fields or "color" in fields):
            return True
        return on

    def update(self, fields):
        """Store the brightness."""
        brightness = fields.get("brightness", self.brightness)
        if brightness != self.brightness:
            self.brightness = brightness
            self.state_version += 1
