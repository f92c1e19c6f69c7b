"""The device: the same file on every board. What differs is in the board's `pins.py`."""

import gc
import os
import sys
from time import sleep, ticks_ms

import slot

began = ticks_ms()
WINDOW = 2  # s in which Ctrl-C comes in before the watchdog starts


def checked():
    """The config, checked, or None."""
    from app import config

    try:
        return config.load("config.json", pins)
    except config.ConfigError as error:
        print(error)
        return None


def let_go():
    """What has checked the config: it takes heap that the device needs."""
    for name in ("app.config", "actuators.schema", "sensors.schema"):
        package, _, module = name.partition(".")
        sys.modules.pop(name, None)
        if package in sys.modules and hasattr(sys.modules[package], module):
            delattr(sys.modules[package], module)
    for name in sys.modules:
        if name.startswith("sensors."):
            for checks in ("FIELDS", "PINS", "CHOICES", "VOLTS", "REQUIRED", "fields", "check"):
                if hasattr(sys.modules[name], checks):
                    delattr(sys.modules[name], checks)
    gc.collect()


def main():
    """Run until the power goes. A person at the console ends it with Ctrl-C."""
    if "stay" in os.listdir():
        print("the file `stay` is here: nothing is started")
        return
    # what stays is loaded in front of what goes: else it would lie in pieces all over the heap
    from app import crash, node

    settings = checked()
    if settings is None:
        # a wrong config does not get better by a restart: say it once and stay
        pins.halt()
        return
    let_go()
    name = settings["device"]
    woke = False
    if settings["power"]["mode"] == "deep":
        from app import power

        woke = power.woke(pins)
    safe_mode = not woke and crash.starting()
    if settings["watchdog"] and hasattr(pins, "watchdog") and not woke:
        print("%s: starts in %d s, unless Ctrl-C comes" % (name, WINDOW))
        sleep(WINDOW)
    try:
        node.run(settings, pins, safe_mode, began)
    except Exception as error:
        sys.print_exception(error)
        crash.log(error)
        print("%s: restart in 5 s" % name)
        sleep(5)
        pins.reset()


def again():
    """A new version that does not even start: the next start counts it, and goes back in the end."""
    sleep(5)
    if "pins" in sys.modules:
        pins.reset()
    __import__("machine").reset()


try:
    import pins

    main()
except Exception as error:
    if slot.read()[2] < 0:  # what a cable has brought is for a person to mend
        raise
    sys.print_exception(error)
    again()
