"""Puts the outputs at their safe levels, also if config.json is not valid.

`drive` is the first thing that main.py does. It needs nothing of the application, because the application may
be what does not work.
"""

import json

_KINDS = ("switch", "valve", "light", "servo", "pixels")
_MAX_CONFIG = 32768  # bytes


def drive(pins, keep=True, path="config.json"):
    """Drive each output that the config names at its safe level. Never raises an exception.

    `keep`: whether an output with `safe` HOLD keeps the level that the board still drives. Pass False if the
    application does not run the actuators; these outputs are then switched off.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            items = [_fill_in(item) for item in _find_items(file.read(min(size, _MAX_CONFIG)))]
        from .interlocks import resolve

        resolve(items)
    except OSError:
        return  # the check of the config reports it
    except Exception as error:
        print("outputs: %r" % error)
        return
    for on in (False, True):  # interlocked actuators are switched off first
        for item in items:
            try:
                if _is_on(item, pins, keep) == on:
                    _DRIVERS.get(item["kind"], _drive_level)(item, pins, on)
            except Exception as error:
                print("%s: %r" % (item["name"], error))


def _find_items(text):
    """Yield the entries of the list `actuators` as dicts with the fields that can be read.

    `text` (bytes) need not be valid JSON.
    """
    end = 0
    while True:
        start = text.find(b'"actuators"', end)
        if start < 0:
            return
        end = start + 11
        if text[end : end + 20].lstrip()[:1] == b":":  # not a value, such as a name
            break
    end = text.find(b"[", end)
    while end >= 0:
        start = text.find(b"{", end)
        bracket = text.find(b"]", end)
        if start < 0 or 0 <= bracket < start:
            return
        end = text.find(b"}", start)  # an entry contains no other object
        entry = text[start : end + 1] if end >= 0 else text[start:]
        try:
            item = json.loads(entry)
        except ValueError:
            item = _scan_fields(entry)
        yield item


def _scan_fields(entry):
    """Return the fields that can be read in an entry that is not JSON."""
    item = {}
    for key in ("name", "kind", "pin", "safe", "inverted", "max_on", "count", "max_brightness", "frequency"):
        rest = entry.partition(b'"' + key.encode() + b'"')[2].lstrip(b" \t\r\n:")
        end = 0
        while end < len(rest) and rest[end : end + 1] not in b",}\r\n":
            end += 1
        try:
            item[key] = json.loads(rest[:end].strip())
        except ValueError:
            pass
    return item


def _fill_in(item):
    """Return the entry with defaults for the fields that are missing or not valid."""
    kind = item.get("kind")
    if kind not in _KINDS:
        kind = "switch"
    safe = item.get("safe") or ("OFF" if kind == "valve" else "HOLD")
    max_on = item.get("max_on")
    if max_on is None:
        max_on = 3600 if kind == "valve" else 0
    interlock = item.get("interlock")
    inverted = item.get("inverted")
    return {
        "name": item.get("name"),
        "kind": kind,
        "pin": item.get("pin"),
        "safe": safe.upper() if isinstance(safe, str) else "OFF",
        "max_on": max_on,
        "interlock": interlock if isinstance(interlock, list) else (),
        # None: not known which level is off
        "inverted": inverted if isinstance(inverted, bool) else None if inverted else False,
        "count": _whole(item.get("count"), 1, 300, 1),
        "max_brightness": _whole(item.get("max_brightness"), 1, 255, 255),
        "frequency": _whole(item.get("frequency"), 10, 40000, 1000),
    }


def _whole(value, low, high, default):
    return value if isinstance(value, int) and low <= value <= high else default


def _is_on(item, pins, keep):
    """Return whether the actuator is on in its safe state; None if its output is not known."""
    if item["pin"] not in pins.OUTPUTS or item["inverted"] is None:
        return None
    if item["safe"] == "HOLD" and keep and not item["max_on"] and item["kind"] in ("switch", "valve"):
        level = pins.driven_level(item["pin"]) if hasattr(pins, "driven_level") else None
        return level is not None and bool(level) != item["inverted"]
    return item["safe"] == "ON"


def _drive_level(item, pins, on):
    pins.output(item["pin"], 1 if on != item["inverted"] else 0)


def _drive_light(item, pins, on):
    if on:
        level = item["max_brightness"]
        pins.pwm(item["pin"], item["frequency"], level * level * 65535 // (255 * 255))
    else:
        _drive_level(item, pins, on)


def _drive_servo(item, pins, on):
    pins.output(item["pin"], 0)  # no pulses: it does not move


def _drive_pixels(item, pins, on):
    strip = pins.pixels(item["pin"], item["count"])
    strip.fill((item["max_brightness"] if on else 0,) * 3)
    strip.write()


_DRIVERS = {"light": _drive_light, "servo": _drive_servo, "pixels": _drive_pixels}
