"""`esp32` as far as firmware uses it: the thermometer, in the file `temperature`, and what wakes the chip."""

import simulated_io

if simulated_io.RP2:
    raise ImportError("no module named 'esp32'")

if simulated_io.CHIP == "esp32":

    def raw_temperature():
        """Degrees Fahrenheit, as the ESP32 has them."""
        return round(float(simulated_io.read_text("temperature") or 53) * 1.8 + 32)

else:

    def mcu_temperature():
        """Degrees Celsius."""
        return int(float(simulated_io.read_text("temperature") or 53))


WAKEUP_ALL_LOW, WAKEUP_ANY_HIGH = False, True

# those that are connected to the part of the chip that stays awake
_RTC = {
    "esp32": (0, 2, 4, 12, 13, 14, 15, 25, 26, 27, 32, 33, 34, 35, 36, 37, 38, 39),
    "esp32s3": range(0, 22),
    "esp32c3": range(0, 6),
}[simulated_io.CHIP]

_waking: list = []  # (line, level) of what ends a deep sleep


def _arm(pins, level):
    for pin in pins:
        if pin._line.number not in _RTC:
            raise ValueError("invalid pin")
    _waking[:] = [(pin._line, int(level)) for pin in pins]


if simulated_io.CHIP == "esp32c3":

    def wake_on_gpio(pins=None, level=False):
        _arm(pins or (), level)

else:

    def wake_on_ext0(pin=None, level=False):
        _arm((pin,) if pin else (), level)
