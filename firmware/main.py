"""The device: the same file on every board. What differs is in the board's `pins.py`."""

import os
import sys
from time import sleep

import pins
from app import config, crash, node

WINDOW = 2  # s in which Ctrl-C comes in before the watchdog starts


def main():
    """Run until the power goes. A person at the console ends it with Ctrl-C."""
    if "stay" in os.listdir():
        print("the file `stay` is here: nothing is started")
        return
    try:
        settings = config.load("config.json", pins)
    except config.ConfigError as error:
        # a wrong config does not get better by a restart: say it once and stay
        print(error)
        pins.halt()
        return
    safe_mode = crash.starting()
    if settings["watchdog"] and hasattr(pins, "watchdog"):
        sleep(WINDOW)
    try:
        node.run(settings, pins, safe_mode)
    except Exception as error:
        sys.print_exception(error)
        crash.log(error)
        print("%s: restart in 5 s" % settings["device"])
        sleep(5)
        pins.reset()


main()
