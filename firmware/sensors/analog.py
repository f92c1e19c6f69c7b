"""Analog sensor: a voltage measured by the ADC, converted by `scale` and `offset`."""

from . import MEASUREMENT
from .schema import REQUIRED, merge_fields

ADC_FIELDS = {
    "pin": (object, REQUIRED, 0, 0, "a pin with an ADC"),
    "samples": (int, 8, 1, 64, "a number of samples to average, 1 to 64"),
    "attenuation": (str, None, 1, 3, "an attenuation of the chip's ADC"),
}
FIELDS = merge_fields(
    scale=(float, 1, -1e9, 1e9, "a number"),
    offset=(float, 0, -1e9, 1e9, "a number"),
    unit=(str, "V", 0, 16, "a unit"),
    device_class=(str, None, 0, 32, "a device class of Home Assistant"),
    **ADC_FIELDS,
)
PIN_USES = {"pin": "ANALOG_PINS"}


def check(config, pins):
    """Check `attenuation`, which depends on the chip."""
    if config["attenuation"] is not None and config["attenuation"] not in pins.ATTENUATIONS:
        known = ", ".join(sorted(pins.ATTENUATIONS, key=float))
        return "attenuation", "one of " + known if known else "no value: this chip has no attenuation"


def make(config, pins):
    return Analog(config, pins.analog_input(config["pin"], config["attenuation"]))


def read_average(read, samples):
    """Call `read()` as many times as `samples` says; returns the average."""
    total = 0.0
    for _ in range(samples):
        total += read()
    return total / samples


class Analog:
    """The driver; the argument `read` is a function that returns the voltage at the pin."""

    def __init__(self, config, read):
        unit = config["unit"]
        device_class = config["device_class"]
        if device_class is None:
            device_class = "voltage" if unit in ("V", "mV") else ""
        self.quantities = ((config["name"], unit, device_class, 2, MEASUREMENT),)
        self._read_voltage = read
        self._samples = config["samples"]
        self._scale = config["scale"]
        self._offset = config["offset"]

    def start(self):
        return 0

    def read(self, values):
        values[0] = read_average(self._read_voltage, self._samples) * self._scale + self._offset
