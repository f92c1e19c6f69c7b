"""Sensors: what is measured and counted. A kind's module is loaded when a config names it.

A sensor has

- `quantities`: for each a (key, unit, device class as Home Assistant names it, decimals, state class),
- `start()`: begins to measure; returns the ms until `read` can be called,
- `read(values)`: fills a list with a value for each quantity, None where there is none,
- `look(now)`, only where it has `changed`: an event that is told at once; the ms until the next look,
- `save()`, only where it has something to lose.

`start` and `read` raise OSError or ValueError. None of them takes longer than some 30 ms. A device
that is missing at the start is looked for again by each `start`.
"""

REQUIRED = ...
MEASUREMENT = "measurement"

# kind: its module; the kinds of a board's own `READINGS` are beside these
KINDS = {
    "dht11": "dht",
    "dht22": "dht",
    "ds18b20": "ds18b20",
    "bme280": "bme280",
    "sht3x": "sht3x",
    "analog": "analog",
    "digital": "digital",
    "pulse": "pulse",
    "battery": "battery",
    "heap_free": "heap_free",
}

# fields that each kind has; as in app.schema
FIELDS = {
    "kind": (str, REQUIRED, 1, 32, "the kind of sensor"),
    "name": (str, None, 1, 23, "1 to 23 letters, digits, - or _"),
    "period": (float, 10, 0.1, 86400, "seconds, 0.1 to 86400"),
    "smoothing": (float, 0, 0, 0.99, "0 for none, to 0.99"),
    "dead_band": (float, None, 0, 1e9, "the change that is published, 0 for any"),
    "max_silence": (float, 3600, 1, 86400, "seconds, 1 to 86400"),
    "precision": (int, None, 0, 6, "decimals, 0 to 6"),
    "qos": (int, 0, 0, 2, "0, 1 or 2"),
    "expiry": (int, None, 1, 0x3FFFFFFF, "seconds, 1 or more"),
    "retain": (bool, False, 0, 1, "true or false"),
}


def fields(**more):
    """The fields of a kind: those of all, and its own."""
    made = dict(FIELDS)
    made.update(more)
    return made


def module(kind):
    """The module of a kind: it has `FIELDS` and `make(config, pins)`.

    What it may have besides: `PINS`, what a pin in a field is used for; `CHOICES`, the words that a
    field may be; `check(config, pins)`, which returns the field that is wrong and what was expected.
    """
    name = "sensors." + KINDS.get(kind, "reading")
    return __import__(name, None, None, (name,))
