"""Sensors: what is measured and counted. A kind's module is loaded when a config names it.

A sensor has

- `quantities`: for each a (key, unit, device class as Home Assistant names it, decimals, state class,
  which is None where the value is ON or OFF),
- `start()`: begins to measure; returns the ms until `read` can be called,
- `read(values)`: fills a list with a value for each quantity, None where there is none,
- `poll(now)`, only where it has `has_changed`: an event that is told at once; the ms until the next look,
- `save()`, only where it has something to lose.

`start` and `read` raise OSError or ValueError. None of them takes longer than some 30 ms. A device
that is missing at the start is looked for again by each `start`.
"""

MEASUREMENT = "measurement"

# the kinds of a board's own `READINGS` are beside these; one text, for names are kept for good
KINDS = "dht11 dht22 ds18b20 bme280 sht3x analog digital pulse battery heap_free"


def load_module(kind):
    """The module of a kind: it has `FIELDS` (see `schema`) and `make(config, pins)`.

    What it may have besides: `PIN_USES`, what a pin in a field is used for; `CHOICES`, the words that a
    field may be; `check(config, pins)`, which returns the field that is wrong and what was expected.
    When the config has been checked all these but `make` are let go.
    """
    file = "dht" if kind in ("dht11", "dht22") else kind if kind in KINDS.split() else "board_reading"
    name = "sensors." + file
    return __import__(name, None, None, (name,))
