"""Pins of a computer used as a board (MicroPython's unix port): pins are files, readings come from Linux.

The files are in the current folder of the process: `tail -F lamp` shows an output, `echo 1 > door` sets a
digital input, `echo 1.65 > level` sets the voltage at an analog input.
"""

import os
import sys

BOARD = "host"
WIFI = False
BUFFERS = {"rx": 1024, "tx": 1024, "outbox": 2048, "inflight": 8, "aliases": 16}
OUTPUTS = {"lamp": "lamp", "relay": "relay"}
BUSES: dict = {}
ATTENUATIONS: dict = {}
INPUT_PINS = OUTPUT_PINS = ANALOG_PINS = "any"  # a file of any name
PIN_RESTRICTIONS: dict = {}

_ZONES = "/sys/class/thermal"


class _FileOutput:
    """An output pin whose level is ON or OFF in a file; the level survives a restart of the device."""

    def __init__(self, path, level):
        self._path = path
        self._value = 0
        self.value(level)

    def value(self, value=None):
        """Return or set the level, as `machine.Pin.value` does."""
        if value is None:
            return self._value
        with open(self._path, "w") as file:
            file.write("ON\n" if value else "OFF\n")
        self._value = 1 if value else 0


def output(name, level=0):
    """Return the output of this name, one of `OUTPUTS`, which has this level, 0 or 1."""
    return _FileOutput(OUTPUTS[name], level)


def driven_level(name):
    """Return the level in the file of an output, None if there is no file."""
    try:
        with open(OUTPUTS[name]) as file:
            return 1 if file.read().strip() == "ON" else 0
    except (OSError, ValueError):
        return None


class _FileLevel:
    """A PWM output or LED strip whose duty cycle or color is in a file."""

    def __init__(self, path):
        self._path = path
        self._color = (0, 0, 0)

    def duty_u16(self, value):
        """Set the duty cycle, as `machine.PWM.duty_u16` does."""
        with open(self._path, "w") as file:
            file.write("%d\n" % value)

    def fill(self, color):
        """Set the color of all pixels, as `neopixel.NeoPixel.fill` does."""
        self._color = color

    def write(self):
        """Write the color to the file, as `neopixel.NeoPixel.write` does."""
        with open(self._path, "w") as file:
            file.write("%d %d %d\n" % self._color)


def pwm(name, frequency, duty=0):
    """Return a PWM output of this name, one of `OUTPUTS`, with the `duty` cycle 0 to 65535."""
    level = _FileLevel(OUTPUTS[name])
    level.duty_u16(duty)
    return level


def pixels(name, count):
    """Return a strip of NeoPixels at the output of this name."""
    return _FileLevel(OUTPUTS[name])


class _FileInput:
    """An input whose level is the number in a file; without a file, `pull` determines the level."""

    def __init__(self, path, pull):
        self._path = path
        self._pull = 1 if pull == "up" else 0

    def value(self):
        """Return the level, as `machine.Pin.value` does."""
        try:
            return 1 if _first_number(self._path) else 0
        except (OSError, ValueError, IndexError):
            return self._pull


def digital_input(name, pull):
    """Return an input that reads the file of this name."""
    return _FileInput(name, pull)


def on_edge(pin, handler, edge):
    """Do nothing: files have no interrupts, so inputs are polled."""


def analog_input(name, attenuation):
    """Return a function that returns the voltage in the file of this name."""
    return lambda: _first_number(name)


def reset():
    """End the process, with exit code 1; the program that started it may start it again."""
    sys.exit(1)


def halt():
    """End the process, with exit code 2: a person has to correct an error first."""
    sys.exit(2)


def _first_number(path):
    with open(path) as file:
        return float(file.read().split()[0])


def _load():
    return _first_number("/proc/loadavg")


def _uptime():
    return int(_first_number("/proc/uptime"))


def _memory_available():
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    raise OSError("/proc/meminfo has no MemAvailable")


def _disk_free():
    stat = os.statvfs(".")
    return stat[1] * stat[4] / 1e9


def _thermal_zone():
    """Return the file with the temperature of the processor, None if this computer has none."""
    try:
        zones = sorted(os.listdir(_ZONES))
    except OSError:
        return None
    for zone in zones:
        path = "%s/%s/temp" % (_ZONES, zone)
        try:
            _first_number(path)
            return path
        except (OSError, ValueError, IndexError):
            pass
    return None


# readings by kind: (function that returns the value, unit, device class of Home Assistant)
READINGS = {
    "load": (_load, "", ""),
    "memory_available": (_memory_available, "MiB", "data_size"),
    "disk_free": (_disk_free, "GB", "data_size"),
    "uptime": (_uptime, "s", "duration"),
}

_zone = _thermal_zone()
if _zone:
    READINGS["cpu_temperature"] = (lambda: _first_number(_zone) / 1000, "°C", "temperature")
