"""ESP32-C3 boards with something on GPIO 5 and 4; the boards differ in their LEDs."""

from esp32_common import *
from hardware import *

BOARD = "esp32_c3"
WIFI = True
BUFFERS = {"rx": 1024, "tx": 1024, "outbox": 2048, "inflight": 8, "aliases": 16}
OUTPUTS = {"lamp": 5, "relay": 4}
BUSES = {"i2c": (0, 9, 8)}  # number, SCL, SDA
PIN_NAMES.update(OUTPUTS)

# which pins can do what, and why the others can't
INPUT_PINS = OUTPUT_PINS = "0-10 20-21"
ANALOG_PINS = "0-4"
WAKE_PINS = "0-5"
PIN_RESTRICTIONS = {
    "11-17": "the flash is wired to it",
    "18-19": "USB is wired to it",
    "5": "it can't measure while the Wi-Fi is on",
}
