"""SHT30, SHT31 and SHT35 temperature and humidity sensors on I2C, according to Sensirion's data sheet."""

from micropython import const

from . import MEASUREMENT
from .schema import merge_fields

FIELDS = merge_fields(
    bus=(str, "i2c", 1, 16, "the name of a bus of the board"),
    address=(int, None, 0x44, 0x45, "68 or 69"),
)

_ADDRESS = const(0x44)
_TIME = const(16)  # ms; duration of a measurement at high repeatability
_MEASURE = b"\x24\x00"  # single shot, high repeatability, no clock stretching


_drivers: list = []  # all drivers of this kind


def make(config, pins):
    driver = Sht3x(pins.i2c(config["bus"]), config["address"], config["bus"])
    _drivers.append(driver)
    return driver


class Sht3x:
    """The driver; `bus` is a `machine.I2C`. If `address` is None, the sensor is found at both addresses."""

    quantities = (
        ("temperature", "°C", "temperature", 2, MEASUREMENT),
        ("humidity", "%", "humidity", 1, MEASUREMENT),
    )

    def __init__(self, bus, address, bus_name="i2c"):
        self.bus = bus
        self.bus_name = bus_name
        self.is_fixed = address is not None
        self.address = address or _ADDRESS
        self._raw = bytearray(6)

    def start(self):
        try:
            self.bus.writeto(self.address, _MEASURE)
        except OSError as error:
            from .i2c_address import other_address

            other = other_address(self, _drivers, error)
            if other is None:
                raise
            try:
                self.bus.writeto(other, _MEASURE)
            except OSError:
                raise error
            self.address = other
        return _TIME

    def read(self, values):
        raw = self._raw
        self.bus.readfrom_into(self.address, raw)
        if crc8(raw, 0, 2) != raw[2] or crc8(raw, 3, 5) != raw[5]:
            if not self.is_fixed:
                self.address = _ADDRESS  # another chip may have answered at the other address
            raise ValueError("wrong checksum")
        values[0] = (raw[0] << 8 | raw[1]) * 175 / 65535 - 45
        values[1] = (raw[3] << 8 | raw[4]) * 100 / 65535


def crc8(data, start, end):
    """Return the CRC-8 of data[start:end]: polynomial x^8 + x^5 + x^4 + 1, initial value 0xFF."""
    value = 0xFF
    for i in range(start, end):
        value ^= data[i]
        for _ in range(8):
            value = value << 1 ^ (0x31 if value & 0x80 else 0)
            value &= 0xFF
    return value
