"""Schema of the actuators in `config.json`: the fields of each kind, in the format of `app.config.schema`."""

_SECONDS = "seconds, 0 to 86400; 0 for none"
_INVERTED = (bool, False, 0, 1, "true if the output is low when the actuator is on")
_MAX_BRIGHTNESS = (int, 255, 1, 255, "the maximum brightness, 1 to 255")
_ANGLE = "an angle in degrees, 0 to 360"
_PULSE = "the length of the pulse in us, 200 to 2800"


def merge_fields(**more):
    """Return the fields of a kind: the common fields and `more`, which may replace common fields."""
    fields = {
        "kind": (str, "switch", 1, 32, "the kind of actuator"),
        "name": (str, ..., 1, 23, "1 to 23 letters, digits, - or _"),
        "pin": (str, ..., 1, 32, "the name of an output of the board"),
        "max_on": (float, 0, 0, 86400, _SECONDS),
        "min_off": (float, 0, 0, 86400, _SECONDS),
        "interlock": (list, (), 0, 8, "a list of names of up to 8 other actuators"),
        "safe": (str, "HOLD", 2, 4, "ON, OFF or HOLD"),
        "safe_after": (float, 60, 0, 86400, "seconds without a connection, 0 to 86400"),
    }
    fields.update(more)
    return fields


FIELDS = {
    "switch": merge_fields(inverted=_INVERTED),
    "valve": merge_fields(
        inverted=_INVERTED,
        max_on=(float, 3600, 1, 86400, "the maximum time open in seconds, 1 to 86400"),
        safe=(str, "OFF", 2, 4, "ON, OFF or HOLD"),
    ),
    "light": merge_fields(
        frequency=(int, 1000, 10, 40000, "Hz, 10 to 40000"),
        fade=(float, 0.3, 0, 60, "seconds, 0 to 60"),
        max_brightness=_MAX_BRIGHTNESS,
    ),
    "servo": merge_fields(
        low=(float, 0, 0, 360, _ANGLE),
        high=(float, 180, 0, 360, _ANGLE),
        low_us=(int, 500, 200, 2800, _PULSE),
        high_us=(int, 2500, 200, 2800, _PULSE),
        rest=(float, None, 0, 360, _ANGLE),
        release=(float, 1, 0, 3600, "seconds after which the pulses stop, 0 for never"),
    ),
    "pixels": merge_fields(
        count=(int, 1, 1, 300, "a number of pixels, 1 to 300"), max_brightness=_MAX_BRIGHTNESS
    ),
}
