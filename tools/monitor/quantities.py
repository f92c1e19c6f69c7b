"""Units of readings, and the texts of values, durations and ages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A measured quantity."""

    unit: str = ""
    min_span: float = 0.0  # smallest useful span of a chart's axis, in the unit


# by the last level of the reading's name, or by the last word of it: `air/temperature`, `chip_temperature`
_QUANTITIES = {
    "memory_available": Quantity("MiB"),
    "disk_free": Quantity("GB"),
    "heap_free": Quantity("B"),
    "uptime": Quantity("s"),
    "temperature": Quantity("°C", 1),
    "humidity": Quantity("%", 2),
    "pressure": Quantity("hPa", 5),
    "level": Quantity("%", 2),
    "voltage": Quantity("V", 0.1),
    "wifi_signal": Quantity("dBm", 10),
}
_UNKNOWN = Quantity()


def find_quantity(reading: str) -> Quantity:
    """Return the quantity of a reading. If its name is unknown, the quantity has no unit."""
    name = reading.rpartition("/")[2]
    return _QUANTITIES.get(name) or _QUANTITIES.get(name.rpartition("_")[2]) or _UNKNOWN


def format_number(value: float) -> str:
    """Return a number with up to six digits, or all before the point, and separators of thousands."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    digits = f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
    if "e" in digits:
        return digits
    whole, point, fraction = digits.partition(".")
    sign = "-" if whole == "-0" else ""
    return f"{sign}{int(whole):,}{point}{fraction}"


def format_duration(seconds: float) -> str:
    """Return a duration in words with its two largest units, such as `3 h 5 min` or `2 h`."""
    left = max(int(seconds), 0)
    parts: list[tuple[int, str]] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


def format_age(seconds: float) -> str:
    """Return how long ago something happened, such as `now` or `12 s`."""
    if seconds < 2:
        return "now"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds // 86400)} d"


def format_reading(reading: str, value: float, is_binary: bool = False) -> str:
    """Return the value of a reading with its unit. A binary one is `ON` or `OFF`, an uptime is a duration."""
    if is_binary:
        return "ON" if value else "OFF"
    unit = find_quantity(reading).unit
    if unit == "s":
        return format_duration(value)
    return f"{format_number(value)} {unit}".rstrip()
