"""ESP32-S3 boards with something on GPIO 2 and 4; the LED on most is a NeoPixel."""

from esp32_common import *
from hardware import *

BOARD = "esp32_s3"
WIFI = True
BUFFERS = {"rx": 1024, "tx": 1024, "outbox": 2048, "inflight": 8, "aliases": 16}
OUTPUTS = {"lamp": 2, "relay": 4}
BUSES = {"i2c": (0, 9, 8)}  # number, SCL, SDA
PIN_NAMES.update(OUTPUTS)

# which pins can do what, and why the others can't
INPUT_PINS = OUTPUT_PINS = "0-18 21 33-48"
ANALOG_PINS = "1-10"
WAKE_PINS = "0-18 21"
PIN_RESTRICTIONS = {
    "26-32": "the flash is wired to it",
    "19-20": "USB is wired to it",
    "11-20": "it can't measure while the Wi-Fi is on",
}
