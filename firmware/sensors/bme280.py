"""BME280 temperature, humidity and pressure sensor on I2C, and BMP280, which does not measure humidity.

The compensation uses the integer formulas of Bosch's data sheet BST-BME280-DS002, 4.2.3.
"""

import struct

from micropython import const

from . import MEASUREMENT
from .schema import merge_fields

FIELDS = merge_fields(
    bus=(str, "i2c", 1, 16, "the name of a bus of the board"),
    address=(int, None, 0x76, 0x77, "118 or 119"),
)

_TIME = const(10)  # ms; duration of a measurement of one sample of each quantity


_drivers: list = []  # all drivers of this kind


def make(config, pins):
    driver = Bme280(pins.i2c(config["bus"]), config["address"], config["bus"])
    _drivers.append(driver)
    return driver


class Bme280:
    """The driver; `bus` is a `machine.I2C`. If `address` is None, the sensor is found at both addresses."""

    quantities = (
        ("temperature", "°C", "temperature", 2, MEASUREMENT),
        ("humidity", "%", "humidity", 1, MEASUREMENT),
        ("pressure", "hPa", "atmospheric_pressure", 2, MEASUREMENT),
    )

    def __init__(self, bus, address, bus_name="i2c"):
        self.bus = bus
        self.bus_name = bus_name
        self.is_fixed = address is not None
        self.address = address or 0x76
        self._trim = None
        self._raw = bytearray(8)
        self._byte = bytearray(1)

    def start(self):
        if self._trim is None:
            self._find()
        if self._trim[1]:
            self._write(0xF2, 1)  # one sample of humidity; takes effect with the next write to 0xF4
        self._write(0xF4, 0x25)  # temperature and pressure, one sample each; starts the measurement
        return _TIME

    def _find(self):
        try:
            self._read_trim()
        except (OSError, ValueError) as error:
            from .i2c_address import other_address

            before, other = self.address, other_address(self, _drivers, error)
            if other is None:
                raise
            self.address = other
            try:
                self._read_trim()
            except (OSError, ValueError):
                self.address = before
                raise error

    def _read_trim(self):
        """Read the calibration data ("trimming parameters"), which never change."""
        bus, address = self.bus, self.address
        chip = bus.readfrom_mem(address, 0xD0, 1)[0]
        if chip not in (0x60, 0x58):
            raise ValueError("not a BME280 or BMP280: chip id 0x%02x" % chip)
        low = struct.unpack("<HhhHhhhhhhhh", bus.readfrom_mem(address, 0x88, 24))
        if not low[0] or not low[3]:
            raise ValueError("no calibration data")
        high = ()
        if chip == 0x60:
            h = bus.readfrom_mem(address, 0xE1, 7)
            high = (
                bus.readfrom_mem(address, 0xA1, 1)[0],
                struct.unpack("<h", h[:2])[0],
                h[2],
                _signed(h[3]) * 16 | h[4] & 15,
                _signed(h[5]) * 16 | h[4] >> 4,
                _signed(h[6]),
            )
        self._trim = low, high

    def _write(self, register, value):
        self._byte[0] = value
        try:
            self.bus.writeto_mem(self.address, register, self._byte)
        except OSError:
            self._trim = None  # the next start looks for the sensor again
            raise

    def read(self, values):
        bus, raw = self.bus, self._raw
        try:
            bus.readfrom_mem_into(self.address, 0xF3, self._byte)
            if self._byte[0] & 8:
                raise OSError("still measuring")
            bus.readfrom_mem_into(self.address, 0xF7, raw)
        except OSError:
            self._trim = None  # read again at the next start: the sensor may have been replaced
            raise
        t = raw[3] << 12 | raw[4] << 4 | raw[5] >> 4
        p = raw[0] << 12 | raw[1] << 4 | raw[2] >> 4
        if t == 0x80000 or p == 0x80000:
            self._trim = None
            raise ValueError("no measurement")
        low, high = self._trim
        fine = _fine(low, t)
        values[0] = ((fine * 5 + 128) >> 8) / 100
        values[1] = _humidity(high, raw[6] << 8 | raw[7], fine) / 1024 if high else None
        values[2] = _pressure(low, p, fine) / 25600


def _signed(octet):
    return octet - 256 if octet > 127 else octet


def _fine(trim, t):
    """Return t_fine: the temperature for the compensation of pressure and humidity."""
    t1, t2, t3 = trim[0], trim[1], trim[2]
    a = ((t >> 3) - (t1 << 1)) * t2 >> 11
    b = (t >> 4) - t1
    return a + ((b * b >> 12) * t3 >> 14)


def _pressure(trim, p, fine):
    """Return the pressure in units of 1/256 Pa."""
    a = fine - 128000
    b = a * a * trim[8] + (a * trim[7] << 17) + (trim[6] << 35)
    a = (a * a * trim[5] >> 8) + (a * trim[4] << 12)
    a = ((1 << 47) + a) * trim[3] >> 33
    if not a:
        raise ValueError("wrong calibration data")
    p = ((1048576 - p << 31) - b) * 3125 // a
    return (p + (trim[11] * (p >> 13) * (p >> 13) >> 25) + (trim[10] * p >> 19) >> 8) + (trim[9] << 4)


def _humidity(trim, h, fine):
    """Return the relative humidity in units of 1/1024 %."""
    h1, h2, h3, h4, h5, h6 = trim
    v = fine - 76800
    a = (h << 14) - (h4 << 20) - h5 * v + 16384 >> 15
    b = ((v * h6 >> 10) * ((v * h3 >> 11) + 32768) >> 10) + 2097152
    v = a * (b * h2 + 8192 >> 14)
    v -= ((v >> 15) * (v >> 15) >> 7) * h1 >> 4
    return min(max(v, 0), 419430400) >> 12
