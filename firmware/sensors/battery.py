"""Battery voltage and level in percent, measured by the ADC through a voltage divider."""

from . import MEASUREMENT
from .analog import ADC_FIELDS, PIN_USES, check, read_average
from .schema import merge_fields

__all__ = ("FIELDS", "PIN_USES", "check", "make")

FIELDS = merge_fields(
    divider=(float, 2, 1, 1000, "the battery voltage divided by the voltage at the pin, 1 or more"),
    empty=(float, 3.3, 0, 1000, "the voltage of an empty battery"),
    full=(float, 4.2, 0, 1000, "the voltage of a full battery"),
    **ADC_FIELDS,
)
FIELDS["period"] = (float, 60, 0.1, 86400, "seconds, 0.1 to 86400")


def make(config, pins):
    return Battery(config, pins.analog_input(config["pin"], config["attenuation"]))


class Battery:
    """The driver; the argument `read` is a function that returns the voltage at the pin."""

    quantities = (
        ("voltage", "V", "voltage", 2, MEASUREMENT),
        ("level", "%", "battery", 0, MEASUREMENT),
    )

    def __init__(self, config, read):
        self._read_voltage = read
        self._samples = config["samples"]
        self._divider = config["divider"]
        self._empty = config["empty"]
        self._range = (config["full"] - config["empty"]) or 1

    def start(self):
        return 0

    def read(self, values):
        voltage = read_average(self._read_voltage, self._samples) * self._divider
        values[0] = voltage
        values[1] = min(100, max(0, (voltage - self._empty) / self._range * 100))
