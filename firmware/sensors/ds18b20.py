"""DS18B20 temperature sensors, one or more on a 1-Wire bus, with MicroPython's `ds18x20` driver."""

from time import ticks_diff, ticks_ms

from micropython import const

from . import MEASUREMENT
from .schema import REQUIRED, merge_fields

FIELDS = merge_fields(
    pin=(object, REQUIRED, 0, 0, "a pin"),
    address=(str, None, 16, 16, "16 hexadecimal digits"),
    period=(float, 10, 1, 86400, "seconds, 1 to 86400"),
)
PIN_USES = {"pin": "OUTPUT_PINS"}

_CONVERSION = const(750)  # ms, at 12 bits
_POWER_ON = b"\x50\x05"  # bytes 0 and 1 of the scratchpad after power-on: 85 degrees
_RESERVED = const(0x0C)  # byte 6 of the scratchpad after power-on

_buses: dict = {}  # a OneWireBus for each pin; all sensors at the pin share it


def check(config, pins):
    """Check that `address` is hexadecimal."""
    try:
        bytes.fromhex(config["address"] or "")
    except ValueError:
        return "address", FIELDS["address"][4]


def make(config, pins):
    pin = config["pin"]
    if pin not in _buses:
        from ds18x20 import DS18X20
        from onewire import OneWire

        _buses[pin] = OneWireBus(DS18X20(OneWire(pins.open_drain(pin))))
    return Ds18b20(_buses[pin], config["address"])


class OneWireBus:
    """A 1-Wire bus, whose sensors all measure at the same time. `driver` is a `ds18x20.DS18X20`."""

    def __init__(self, driver):
        self.driver = driver
        self._since = None  # ticks at the start of the measurement

    def start(self):
        """Start a measurement, unless one is running; returns the time in ms until it is finished."""
        now = ticks_ms()
        if self._since is not None:
            left = _CONVERSION - ticks_diff(now, self._since)
            if 0 < left <= _CONVERSION:
                return left
        self._since = None
        self.driver.convert_temp()
        self._since = now
        return _CONVERSION

    def scan(self):
        """Return the addresses of all devices on the bus."""
        return self.driver.scan()

    def find_address(self):
        """Return the address of the only sensor on the bus. Raises ValueError if there is not exactly one."""
        found = self.scan()
        if len(found) != 1:
            known = ", ".join("".join("%02x" % octet for octet in rom) for rom in found)
            raise ValueError("set address to one of " + known if found else "no sensor on the 1-Wire bus")
        return bytes(found[0])


class Ds18b20:
    """The driver; `bus` is a OneWireBus, `address` is hexadecimal, or None for the only sensor on the bus."""

    quantities = (("temperature", "°C", "temperature", 2, MEASUREMENT),)

    def __init__(self, bus, address):
        self.bus = bus
        self._is_fixed = bool(address)
        self._address = bytes.fromhex(address) if address else None

    def start(self):
        try:
            if self._address is None:
                self._address = self.bus.find_address()
            return self.bus.start()
        except (OSError, ValueError):
            raise
        except Exception:  # OneWireError
            raise OSError("no response on the 1-Wire bus")

    def read(self, values):
        driver = self.bus.driver
        try:
            value = driver.read_temp(self._address)
        except Exception as error:  # the driver raises Exception for a wrong checksum and for no response
            if not self._is_fixed:
                self._address = None  # the sensor may have been replaced
            raise OSError(str(error) or "no response on the 1-Wire bus")
        scratchpad = driver.buf
        if scratchpad[6] == _RESERVED and scratchpad[:2] == _POWER_ON:
            raise ValueError("the sensor lost its power before it measured")
        values[0] = value
