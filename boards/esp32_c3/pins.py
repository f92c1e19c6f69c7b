"""Pins of ESP32-C3 boards, with outputs on GPIO 5 and 4; the LED's pin differs from board to board."""

from esp32_common import *
from hardware import *

BOARD = "esp32_c3"
WIFI = True
BUFFERS = {"rx": 1024, "tx": 1024, "outbox": 2048, "inflight": 8, "aliases": 16}
OUTPUTS = {"lamp": 5, "relay": 4}
BUSES = {"i2c": (0, 9, 8)}  # number, SCL, SDA
PIN_NAMES.update(OUTPUTS)

# GPIO numbers that can be used for each purpose, and why other GPIO numbers cannot
INPUT_PINS = OUTPUT_PINS = "0-10 20-21"
ANALOG_PINS = "0-4"
WAKE_PINS = "0-5"
PIN_RESTRICTIONS = {
    "11-17": "it is connected to the flash",
    "18-19": "it is connected to USB",
    "5": "its ADC cannot measure while Wi-Fi is on",
}
