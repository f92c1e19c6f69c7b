"""Sensors: the drivers of all kinds of sensors. The module of a kind is loaded if the config names it.

The driver of a sensor has

- `quantities`: a tuple for each quantity: (key, unit, device class of Home Assistant, decimals, state class);
  the state class is None if the value is ON or OFF,
- `start()`: starts a measurement; returns the ms until `read` can be called,
- `read(values)`: fills a list with a value for each quantity, None if it has none,
- `poll(now)` and `has_changed`, only for sensors that report events: `poll` looks for a change and returns
  the ms until it has to be called again; `has_changed` is True until the change is published,
- `save()`, only if a reset would lose data: saves it to flash.

`start` and `read` raise OSError or ValueError if the measurement fails. No method takes longer than about 30
ms. Each `start` searches again for a sensor that is missing.
"""

MEASUREMENT = "measurement"

# one text instead of a tuple of names, each of which would take heap for ever; each board adds its `READINGS`
KINDS = "dht11 dht22 ds18b20 bme280 sht3x analog digital pulse battery heap_free"


def load_module(kind):
    """Import and return the module of a kind; it has `FIELDS` (see `schema`) and `make(config, pins)`.

    It may also have `PIN_USES`: the board's list that the pin in a field must be in; `CHOICES`: the values
    that a field may have; `check(config, pins)`, which returns a wrong field and what is expected, or None.
    When the config has been checked, `main.py` deletes all of these but `make`.
    """
    file = "dht" if kind in ("dht11", "dht22") else kind if kind in KINDS.split() else "board_reading"
    name = "sensors." + file
    return __import__(name, None, None, (name,))
