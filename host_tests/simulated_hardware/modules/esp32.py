"""Simulated `esp32`: the chip temperature, from the file `temperature`, and wake-up pins for deep sleep."""

import simulated_io

if simulated_io.RP2:
    raise ImportError("no module named 'esp32'")

if simulated_io.CHIP == "esp32":

    def raw_temperature():
        """Return the temperature in degrees Fahrenheit."""
        return round(float(simulated_io.read_text("temperature") or 53) * 1.8 + 32)

else:

    def mcu_temperature():
        """Return the temperature in degrees Celsius."""
        return int(float(simulated_io.read_text("temperature") or 53))


WAKEUP_ALL_LOW, WAKEUP_ANY_HIGH = False, True

# pins with RTC function, which can wake the chip from deep sleep
_RTC_PINS = {
    "esp32": (0, 2, 4, 12, 13, 14, 15, 25, 26, 27, 32, 33, 34, 35, 36, 37, 38, 39),
    "esp32s3": range(0, 22),
    "esp32c3": range(0, 6),
}[simulated_io.CHIP]

_wake_pins: list = []  # (line, level) that end a deep sleep


def _arm(pins, level):
    for pin in pins:
        if pin._line.number not in _RTC_PINS:
            raise ValueError("invalid pin")
    _wake_pins[:] = [(pin._line, int(level)) for pin in pins]


if simulated_io.CHIP == "esp32c3":

    def wake_on_gpio(pins=None, level=False):
        _arm(pins or (), level)

else:

    def wake_on_ext0(pin=None, level=False):
        _arm((pin,) if pin else (), level)
