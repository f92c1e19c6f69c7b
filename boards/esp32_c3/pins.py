"""ESP32-C3 boards with something on GPIO 5 and 4; the boards differ in their LEDs."""

import esp32
import machine
import network

WIFI = True
BUFFERS = {"rx": 1024, "tx": 1024, "outbox": 2048, "inflight": 8, "aliases": 16}
OUTPUTS = {"lamp": 5, "relay": 4}


def output(name):
    """The output of this name, one of `OUTPUTS`; it is off until it is told otherwise."""
    return machine.Pin(OUTPUTS[name], machine.Pin.OUT, value=0)


def pwm(name, frequency):
    """PWM at the output of this name; it is off until it is told otherwise."""
    return machine.PWM(machine.Pin(OUTPUTS[name], machine.Pin.OUT, value=0), freq=frequency, duty_u16=0)


def pixels(name, count):
    """A strip of NeoPixels at the output of this name."""
    import neopixel

    return neopixel.NeoPixel(machine.Pin(OUTPUTS[name], machine.Pin.OUT), count)


def reset():
    machine.reset()


def halt():
    """Back to the REPL: a person has to mend something."""


def _chip_temperature():
    return esp32.mcu_temperature()  # type: ignore[attr-defined]  # the stubs are those of the ESP32


def _wifi_signal():
    return network.WLAN(network.STA_IF).status("rssi")


# kind: (read, unit, device class as Home Assistant names it)
READINGS = {
    "chip_temperature": (_chip_temperature, "°C", "temperature"),
    "wifi_signal": (_wifi_signal, "dBm", "signal_strength"),
}
