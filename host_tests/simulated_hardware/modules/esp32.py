"""Simulated `esp32`: the chip temperature, from the file `temperature`, and wake-up pins for deep sleep.

Checked against ports/esp32/modesp32.c of MicroPython 1.29; the functions have the same names there.
"""

import machine
import simulated_io

if simulated_io.RP2:
    raise ImportError("no module named 'esp32'")

if simulated_io.CHIP == "esp32":

    def raw_temperature():
        """Return the temperature in degrees Fahrenheit."""
        return round(float(simulated_io.read_text("temperature") or 53) * 1.8 + 32)

else:

    def mcu_temperature():
        """Return the temperature in degrees Celsius, an integer."""
        return int(float(simulated_io.read_text("temperature") or 53) + 0.5)


WAKEUP_ALL_LOW, WAKEUP_ANY_HIGH = False, True

# RTC_IS_VALID_EXT_PIN: pins with RTC function, which can wake the chip from deep sleep
_RTC_PINS = {
    "esp32": (0, 2, 4, 12, 13, 14, 15, 25, 26, 27, 32, 33, 34, 35, 36, 37, 38, 39),
    "esp32s3": range(0, 22),
    "esp32c3": range(0, 6),
}[simulated_io.CHIP]


def wake_on_gpio(pins=None, level=False):
    """All chips have it; which pins it may have is checked when the chip sleeps, machine_sleep_helper."""
    machine._wake_pins[:] = [(machine.Pin(pin)._line, int(level)) for pin in pins or ()]
    machine._wake_by_gpio[0] = True


if simulated_io.CHIP != "esp32c3":

    def wake_on_ext0(pin=None, level=False):
        if pin is not None and machine.Pin(pin)._line.number not in _RTC_PINS:
            raise ValueError("invalid pin")
        machine._wake_pins[:] = [] if pin is None else [(machine.Pin(pin)._line, int(level))]
        machine._wake_by_gpio[0] = False
