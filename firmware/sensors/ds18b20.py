"""DS18B20 thermometers, several on one wire, by MicroPython's own driver."""

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
_POWER_ON = b"\x50\x05"  # 85 degrees: it has not measured yet ...
_RESERVED = const(0x0C)  # ... where its byte 6 has this

_wires: dict = {}  # those that several share, by pin


def check(config, pins):
    try:
        bytes.fromhex(config["address"] or "")
    except ValueError:
        return "address", FIELDS["address"][4]


def make(config, pins):
    pin = config["pin"]
    if pin not in _wires:
        from ds18x20 import DS18X20
        from onewire import OneWire

        _wires[pin] = OneWireBus(DS18X20(OneWire(pins.open_drain(pin))))
    return Ds18b20(_wires[pin], config["address"])


class OneWireBus:
    """One wire; all that are on it measure at the same time. `driver` is a `ds18x20.DS18X20`."""

    def __init__(self, driver):
        self.driver = driver
        self._since = None  # ticks at which they began

    def start(self):
        """Returns the ms until they have measured."""
        now = ticks_ms()
        if self._since is not None:
            left = _CONVERSION - ticks_diff(now, self._since)
            if 0 < left <= _CONVERSION:
                return left
        self._since = None
        self.driver.convert_temp()
        self._since = now
        return _CONVERSION

    def find_address(self):
        """The address of the one that is there. Raises ValueError where it is not one."""
        found = self.driver.scan()
        if len(found) != 1:
            there = ", ".join("".join("%02x" % octet for octet in rom) for rom in found)
            raise ValueError("set address to one of " + there if found else "no thermometer on the wire")
        return bytes(found[0])


class Ds18b20:
    quantities = (("temperature", "°C", "temperature", 2, MEASUREMENT),)

    def __init__(self, wire, address):
        self._wire = wire
        self._address = bytes.fromhex(address) if address else None

    def start(self):
        try:
            if self._address is None:
                self._address = self._wire.find_address()
            return self._wire.start()
        except (OSError, ValueError):
            raise
        except Exception:  # OneWireError
            raise OSError("nobody answers on the wire")

    def read(self, values):
        driver = self._wire.driver
        try:
            value = driver.read_temp(self._address)
        except Exception as error:  # the driver's own, for a wrong check sum and for silence
            raise OSError(str(error) or "nobody answers on the wire")
        scratchpad = driver.buf
        if scratchpad[6] == _RESERVED and scratchpad[:2] == _POWER_ON:
            raise ValueError("it has lost its power and not measured")
        values[0] = value
