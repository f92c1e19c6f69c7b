"""Pins of ESP32-S3 boards, with outputs on GPIO 2 and 4; on most boards the LED is a NeoPixel."""

from esp32_common import *
from hardware import *

BOARD = "esp32_s3"
WIFI = True
BUFFERS = {"rx": 1024, "tx": 1024, "outbox": 2048, "inflight": 8, "aliases": 16}
OUTPUTS = {"lamp": 2, "relay": 4}
BUSES = {"i2c": (0, 9, 8)}  # number, SCL, SDA
PIN_NAMES.update(OUTPUTS)

# GPIO numbers that can be used for each purpose, and why other GPIO numbers cannot
INPUT_PINS = OUTPUT_PINS = "0-18 21 33-48"
ANALOG_PINS = "1-10"
WAKE_PINS = "0-18 21"
PIN_RESTRICTIONS = {
    "26-32": "it is connected to the flash",
    "19-20": "it is connected to USB",
    "11-20": "its ADC cannot measure while Wi-Fi is on",
}
