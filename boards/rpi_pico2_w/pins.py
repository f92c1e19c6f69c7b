"""Pins of the Raspberry Pi Pico 2 W; `lamp` is the LED, which is connected to the Wi-Fi chip."""

from hardware import *
from rp2_common import *

BOARD = "rpi_pico2_w"
WIFI = True
BUFFERS = {"rx": 1024, "tx": 1024, "outbox": 2048, "inflight": 8, "aliases": 16}
OUTPUTS = {"lamp": "LED", "relay": 15}
BUSES = {"i2c": (0, 5, 4)}  # number, SCL, SDA
PIN_NAMES.update(OUTPUTS)

# GPIO numbers that can be used for each purpose, and why other GPIO numbers cannot
INPUT_PINS = OUTPUT_PINS = WAKE_PINS = "0-22 26-28"
ANALOG_PINS = "26-28"
PIN_RESTRICTIONS = {"23-25": "it is connected to the Wi-Fi chip", "29": "it is connected to the Wi-Fi chip"}
