"""`esp32` as far as firmware uses it: the thermometer, in the file `temperature`."""

import outside

if outside.CHIP == "esp32":

    def raw_temperature():
        """Degrees Fahrenheit, as the ESP32 has them."""
        return round(float(outside.text("temperature") or 53) * 1.8 + 32)

else:

    def mcu_temperature():
        """Degrees Celsius."""
        return int(float(outside.text("temperature") or 53))


def wake_on_ext0(pin=None, level=0):
    pass


def wake_on_ext1(pins=None, level=0):
    pass


def wake_on_gpio(pins=None, level=0):
    pass
