"""Main script (MicroPython runs it after boot.py): loads config.json and runs the device application.

This script is the same on every board; `pins.py` contains everything that depends on the board. After an
unhandled exception, the traceback is saved in crash.txt and the board is reset. After three failed starts in
a row, the device starts in safe mode.
"""

import gc
import os
import sys
from time import sleep, ticks_ms

import slot

_started_at = ticks_ms()
_CTRL_C_SECONDS = 2  # delay in seconds before the watchdog starts; Ctrl-C during it stops the program


def _drive_outputs(keep):
    """Put the outputs at their safe levels; `keep` is the argument of `safe_outputs.drive`. Never raises."""
    try:
        from actuators import safe_outputs

        safe_outputs.drive(pins, keep)
    except Exception as error:
        print("outputs: %r" % error)
    _unload(("actuators.safe_outputs", "actuators.interlocks"))


def _unload(names):
    for name in names:
        package, _, module = name.partition(".")
        sys.modules.pop(name, None)
        if package in sys.modules and hasattr(sys.modules[package], module):
            delattr(sys.modules[package], module)


def _load_config():
    """Return the checked config as a dict, None if it is not valid."""
    from app import config

    try:
        return config.load("config.json", pins)
    except config.ConfigError as error:
        print(error)
        return None


def _release_config_modules():
    """Unload the modules that checked the config, to free their heap."""
    _unload(("app.config", "actuators.schema", "sensors.schema"))
    for check in ("FIELDS", "PIN_USES", "CHOICES", "ADC_FIELDS", "REQUIRED", "merge_fields", "check"):
        for name in sys.modules:
            if name.startswith("sensors.") and hasattr(sys.modules[name], check):
                delattr(sys.modules[name], check)
    gc.collect()


def main():
    """Run the application. Returns if config.json is not valid or if `no_autostart` exists."""
    if "no_autostart" in os.listdir():
        print("no_autostart exists: the application does not start. Delete this file, then reset.")
        _drive_outputs(False)
        return
    # permanent modules are loaded before temporary ones, to avoid heap fragmentation
    from app import crash, node

    config = _load_config()
    if config is None:
        _drive_outputs(False)  # nothing will switch an output off that is on
        # a restart would not repair an invalid config: stop after the error has been printed
        pins.halt()
        return
    _release_config_modules()
    name = config["device"]
    is_planned_wake = False
    if config["power"]["mode"] == "deep":
        from app import power

        is_planned_wake = power.is_planned_wake(pins)
    safe_mode = not is_planned_wake and crash.count_start()
    if safe_mode:
        _drive_outputs(False)
    if config["watchdog"] and hasattr(pins, "watchdog") and not is_planned_wake:
        print("%s: starting in %d s, press Ctrl-C to stop" % (name, _CTRL_C_SECONDS))
        sleep(_CTRL_C_SECONDS)
    try:
        node.run(config, pins, safe_mode, _started_at)
    except Exception as error:
        sys.print_exception(error)
        crash.save(error)
        print("%s: restarting in 5 s" % name)
        sleep(5)
        pins.reset()


def _reset_after_delay():
    """Reset the board after 5 s; boot.py rolls back an unconfirmed version after three such starts."""
    sleep(5)
    if "pins" in sys.modules:
        pins.reset()
    __import__("machine").reset()


try:
    import pins

    _drive_outputs(True)  # before anything else can fail
    main()
except Exception as error:
    if slot.read()[2] < 0:  # no unconfirmed version to roll back: a person has to correct the error
        raise
    sys.print_exception(error)
    _reset_after_delay()
