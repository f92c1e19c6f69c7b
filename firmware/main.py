"""The device: the same file on every board. What differs is in the board's `pins.py`."""

import gc
import os
import sys
from time import sleep

import pins

WINDOW = 2  # s in which Ctrl-C comes in before the watchdog starts


def checked():
    """The config, checked, or None. What checks it is let go: it takes heap that the device needs."""
    from app import config

    try:
        return config.load("config.json", pins)
    except config.ConfigError as error:
        print(error)
        return None
    finally:
        for package, module in (("app", "config"), ("app", "schema"), ("actuators", "schema")):
            sys.modules.pop(package + "." + module, None)
            if package in sys.modules and hasattr(sys.modules[package], module):
                delattr(sys.modules[package], module)
        gc.collect()


def main():
    """Run until the power goes. A person at the console ends it with Ctrl-C."""
    if "stay" in os.listdir():
        print("the file `stay` is here: nothing is started")
        return
    settings = checked()
    if settings is None:
        # a wrong config does not get better by a restart: say it once and stay
        pins.halt()
        return
    from app import crash

    safe_mode = crash.starting()
    if settings["watchdog"] and hasattr(pins, "watchdog"):
        sleep(WINDOW)
    try:
        from app import node

        node.run(settings, pins, safe_mode)
    except Exception as error:
        sys.print_exception(error)
        crash.log(error)
        print("%s: restart in 5 s" % settings["device"])
        sleep(5)
        pins.reset()


main()
