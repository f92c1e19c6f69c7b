"""This computer as a board: what Linux tells of itself, and pins that are files.

They are in the folder where the device runs: `tail -F lamp` watches an output, `echo 1 > door`
changes an input, `echo 1.65 > level` is a voltage at an analog one.
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


class FileOutput:
    """An output pin whose level is the word in a file, kept when the device restarts."""

    def __init__(self, path):
        self._path = path
        try:
            with open(path) as file:
                self._value = 1 if file.read().strip() == "ON" else 0
        except OSError:
            self.value(0)

    def value(self, level=None):
        """Like `machine.Pin.value`: the level, or sets it."""
        if level is None:
            return self._value
        with open(self._path, "w") as file:
            file.write("ON\n" if level else "OFF\n")
        self._value = 1 if level else 0


def output(name):
    """The output of this name, one of `OUTPUTS`."""
    return FileOutput(OUTPUTS[name])


class _FileLevel:
    """PWM and pixels, as a number or a color in a file."""

    def __init__(self, path):
        self._path = path
        self._color = (0, 0, 0)

    def duty_u16(self, value):
        """Like `machine.PWM.duty_u16`."""
        with open(self._path, "w") as file:
            file.write("%d\n" % value)

    def fill(self, color):
        """Like `neopixel.NeoPixel.fill`."""
        self._color = color

    def write(self):
        """Like `neopixel.NeoPixel.write`."""
        with open(self._path, "w") as file:
            file.write("%d %d %d\n" % self._color)


def pwm(name, frequency):
    """PWM at the output of this name."""
    return _FileLevel(OUTPUTS[name])


def pixels(name, count):
    """A strip of NeoPixels at the output of this name."""
    return _FileLevel(OUTPUTS[name])


class _Input:
    """An input whose level is the number in a file; `pull` is what it is without one."""

    def __init__(self, path, pull):
        self._path = path
        self._pull = 1 if pull == "up" else 0

    def value(self):
        """Like `machine.Pin.value`."""
        try:
            return 1 if _first_number(self._path) else 0
        except (OSError, ValueError, IndexError):
            return self._pull


def digital_input(name, pull):
    """An input."""
    return _Input(name, pull)


def on_edge(pin, handler, edge):
    """Files make no interrupts: who wants to know looks."""


def analog_input(name, attenuation):
    """A function that tells the volts in a file."""
    return lambda: _first_number(name)


def reset():
    """What a board does by a reset, a process does by its end: whoever started it decides."""
    sys.exit(1)


def halt():
    """Nothing can go on before a person has mended something."""
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
    """The file with the processor's temperature, None where this machine has none."""
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


# kind: (read, unit, device class as Home Assistant names it)
READINGS = {
    "load": (_load, "", ""),
    "memory_available": (_memory_available, "MiB", "data_size"),
    "disk_free": (_disk_free, "GB", "data_size"),
    "uptime": (_uptime, "s", "duration"),
}

_zone = _thermal_zone()
if _zone:
    READINGS["cpu_temperature"] = (lambda: _first_number(_zone) / 1000, "°C", "temperature")
