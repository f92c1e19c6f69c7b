"""Pins of ESP32 boards with an LED on GPIO 2, such as DevKitC and NodeMCU-32S."""

from esp32_common import *
from hardware import *

BOARD = "esp32"
WIFI = True
BUFFERS = {"rx": 1024, "tx": 1024, "outbox": 2048, "inflight": 8, "aliases": 16}
OUTPUTS = {"lamp": 2, "relay": 26}
BUSES = {"i2c": (0, 22, 21)}  # number, SCL, SDA
PIN_NAMES.update(OUTPUTS)

# GPIO numbers that can be used for each purpose, and why other GPIO numbers cannot
INPUT_PINS = "0-5 12-19 21-23 25-27 32-39"
OUTPUT_PINS = "0-5 12-19 21-23 25-27 32-33"
ANALOG_PINS = "32-39"
WAKE_PINS = "0 2 4 12-15 25-27 32-39"
NO_PULL_PINS = "34-39"
PIN_RESTRICTIONS = {
    "6-11": "it is connected to the flash",
    "34-39": "it is input only and has no pull resistor",
    "0-31": "it has no ADC that can measure while Wi-Fi is on",
}
