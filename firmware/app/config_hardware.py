"""Checks how the actuators and sensors use the pins: no pin has two users, and each suits its user.

`config` loads this module, and unloads it.
"""

_PWM_KINDS = ("light", "servo")
_SERVO_FREQUENCY = 50  # Hz


def find_conflict(config, pins, pin_uses, is_listed):
    """Return one line about the first conflict, None if there is none.

    The fields of `config` have been checked. `pins` is the board's module `pins`. `pin_uses(kind)` returns
    the fields of a kind of sensors that are pins. `is_listed(pin, text)` returns whether a pin is in a
    list of pins such as "0-5 12".
    """
    return (
        _find_shared_pin(config, pins, pin_uses)
        or _find_missing_pull(config["sensors"], pins, is_listed)
        or _find_wrong_output(config["actuators"], pins)
        or _find_shared_pwm(config["actuators"], pins)
    )


def _list_users(config, pins, pin_uses):
    """Yield (GPIO number or name, field, user, group) for each use of a pin; a group shares its pins."""
    for i, item in enumerate(config["actuators"]):
        yield pins.OUTPUTS[item["pin"]], "actuators[%d].pin" % i, "actuator " + item["name"], None
    for i, item in enumerate(config["sensors"]):
        # the devices on a 1-Wire bus share its pin; two sensors can measure the same voltage
        group = item["kind"] if item["kind"] == "ds18b20" else None
        for key, use in pin_uses(item["kind"]).items():
            if use == "ANALOG_PINS":
                group = "attenuation %s" % item.get("attenuation")
            pin = pins.OUTPUTS.get(item[key], item[key]) if isinstance(item[key], str) else item[key]
            yield pin, "sensors[%d].%s" % (i, key), "sensor " + item["name"], group
        if "bus" in item:
            for pin in pins.BUSES[item["bus"]][1:]:
                yield pin, "sensors[%d].bus" % i, "bus " + item["bus"], "bus " + item["bus"]


def _find_shared_pin(config, pins, pin_uses):
    users: dict = {}
    for pin, key, user, group in _list_users(config, pins, pin_uses):
        if pin not in users:
            users[pin] = user, group
        elif not group or users[pin][1] != group:
            text = "GPIO %d" % pin if isinstance(pin, int) else pin
            return "%s: %s is used twice, by %s and %s" % (key, text, users[pin][0], user)
    return None


def _find_missing_pull(sensors, pins, is_listed):
    without = getattr(pins, "NO_PULL_PINS", "")
    for i, item in enumerate(sensors):
        if item.get("pull", "none") != "none" and is_listed(
            pins.OUTPUTS.get(item["pin"], item["pin"]), without
        ):
            text = 'sensors[%d].pull: "%s", expected none: GPIO %s of sensor %s has no pull resistor; add one'
            return text % (i, item["pull"], item["pin"], item["name"])
    return None


def _find_wrong_output(actuators, pins):
    for i, item in enumerate(actuators):
        kind = item["kind"]
        is_gpio = pins.OUTPUT_PINS == "any" or isinstance(pins.OUTPUTS[item["pin"]], int)
        if not is_gpio and (kind in _PWM_KINDS or kind == "pixels"):
            text = 'actuators[%d].pin: "%s" cannot be used for %s %s: it is not a GPIO'
            return text % (i, item["pin"], kind, item["name"])
        if kind == "servo":
            low, high, rest = item["low"], item["high"], item["rest"]
            if low > high:
                return "actuators[%d].low: %s, expected at most high, %s" % (i, low, high)
            if rest is not None and not low <= rest <= high:
                return "actuators[%d].rest: %s, expected low to high, %s to %s" % (i, rest, low, high)
    return None


def _find_shared_pwm(actuators, pins):
    """Find outputs that share a PWM: GPIOs of an RP2 that have one frequency, or even one duty cycle."""
    slices = getattr(pins, "PWM_SLICES", 0)
    users: list = []
    for i, item in enumerate(actuators):
        if not slices or item["kind"] not in _PWM_KINDS:
            continue
        pin = pins.OUTPUTS[item["pin"]]
        frequency = item.get("frequency", _SERVO_FREQUENCY)
        for other_pin, other_frequency, name in users:
            is_same_slice = (pin >> 1) % slices == (other_pin >> 1) % slices
            if is_same_slice and (pin & 1 == other_pin & 1 or frequency != other_frequency):
                return (
                    "actuators[%d].pin: GPIO %d and %d share a PWM, used by actuator %s and actuator %s"
                    % (
                        i,
                        other_pin,
                        pin,
                        name,
                        item["name"],
                    )
                )
        users.append((pin, frequency, item["name"]))
    return None
