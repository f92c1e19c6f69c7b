# Manifest to build a MicroPython firmware with the library, the application and a board's pins frozen in.
# Frozen code takes less RAM, and nothing has to be copied to the board. Run this command in the
# folder of the MicroPython port:
#   UMQTT5_BOARD=esp32 make BOARD=ESP32_GENERIC FROZEN_MANIFEST=.../firmware/manifest.py
import ast
import os

include("$(PORT_DIR)/boards/manifest.py")  # the modules that the port itself freezes, including asyncio
include("../lib/manifest.py")
for name in ("app", "sensors", "actuators"):
    package(name, opt=2)
for name in ("boot.py", "main.py", "slot.py", "archive.py", "rollback.py"):
    module(name)
board = "../boards/" + os.environ["UMQTT5_BOARD"]
module("pins.py", base_path=board, opt=2)
with open(board + "/board.toml") as file:
    for line in file:
        if line.startswith("shared = "):
            for name in ast.literal_eval(line[9:]):
                module(name + ".py", base_path="../boards/shared", opt=2)
