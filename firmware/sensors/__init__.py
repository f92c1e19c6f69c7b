"""Sensors: drivers for temperature, humidity, pressure, analog, digital and pulse sensors.

The module of a kind is loaded only if the config uses this kind.

A driver has these attributes and methods:

- `quantities`: a tuple for each quantity: (key, unit, device class of Home Assistant, decimals, state class);
  the state class is None if the value is ON or OFF,
- `start()`: starts a measurement; returns the time in ms until `read` can be called,
- `read(values)`: stores a value for each quantity in a list; None means that there is no value,
- `poll(now)` and `has_changed`, only for sensors that report events: `poll` checks for a change and returns
  the time in ms until the next call; `has_changed` is True until the change is published,
- `bus` and `bus_name`, only for sensors on a bus: after a failure, the error lists the devices on the bus; an
  I2C bus has a method `scan()`, and its name in the board's `BUSES`; a 1-Wire bus has no name,
- `save()`, only for sensors with data that would be lost in a reset: saves the data to flash.

`start` and `read` raise OSError or ValueError if the measurement fails. No method takes longer than about 30
ms. If a sensor is missing, each `start` looks for it again.
"""

MEASUREMENT = "measurement"

# one string, because each name in a tuple would permanently take heap; the names in the board's `READINGS`
# are kinds, too
KINDS = "dht11 dht22 ds18b20 bme280 sht3x analog digital pulse battery heap_free"


def load_module(kind):
    """Import and return the module of a kind.

    The module has `FIELDS` (see `schema`) and `make(config, pins)`, which returns the driver.
    It may also have

    - `PIN_USES`: a dict from each field that is a pin to the name of the board's list of permitted pins,
    - `CHOICES`: a dict from a field to a tuple of its permitted values,
    - `check(config, pins)`: returns None, or (invalid field, expected value).

    After the config has been checked, `main.py` deletes all of these attributes except `make`.
    """
    file = "dht" if kind in ("dht11", "dht22") else kind if kind in KINDS.split() else "board_reading"
    name = "sensors." + file
    return __import__(name, None, None, (name,))
