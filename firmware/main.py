"""Main script (MicroPython runs it after boot.py): loads config.json and runs the device application.

This script is the same on every board; `pins.py` contains everything that depends on the board. An update
over the air does not replace it. However the program ends, the board is reset, except after Ctrl-C and after
an error in the config of a confirmed version. After three crashes, the device starts in safe mode. After
three starts without a confirmation, boot.py rolls back an update.
"""

import gc
import os
import sys
from time import sleep, ticks_ms

_started_at = ticks_ms()
_CTRL_C_SECONDS = 2  # delay in seconds before the watchdog starts; Ctrl-C during it stops the program
_RESTART_SECONDS = 5  # delay in seconds before the reset; Ctrl-C during it keeps the prompt
_is_trial = False  # whether an update that is not confirmed is running
_name = "umqtt5"  # name of the device, when the config has been read


def _drive_outputs(keep):
    """Put the outputs at their safe levels; `keep` is the argument of `safe_outputs.drive`. Never raises."""
    try:
        import pins
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


def _load_config(pins):
    """Return the checked config as a dict, None if it is not valid."""
    from app import config

    try:
        return config.load("config.json", pins)
    except config.ConfigError as error:
        if _is_trial:  # the previous version accepted this config
            raise
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


def _begin_trial(slot):
    """If the version is not confirmed, count the start, start the watchdog and return True."""
    if slot.read()[2] < 0:
        return False
    print("update not confirmed: starting in %d s, press Ctrl-C to stop" % _CTRL_C_SECONDS)
    sleep(_CTRL_C_SECONDS)
    return slot.begin_trial()


def main():
    """Run the application. Returns only if a person has to act: the config is not valid."""
    global _is_trial, _name
    import slot

    _is_trial = _begin_trial(slot)
    # from here on, modules that an update can replace are imported; the watchdog is fed after each step
    _drive_outputs(True)  # before anything else can fail
    import pins

    slot.feed()
    # permanent modules are loaded before temporary ones, to avoid heap fragmentation
    from app import crash

    slot.feed()
    from app import node

    slot.feed()
    config = _load_config(pins)
    if config is None:
        _drive_outputs(False)  # nothing will switch an output off that is on
        # a restart would not repair an invalid config: stop after the error has been printed
        return
    slot.feed()
    _release_config_modules()
    _name = config["device"]
    is_planned_wake = False
    if config["power"]["mode"] == "deep":
        from app import power

        is_planned_wake = power.is_planned_wake(pins)
    safe_mode = None
    if not (_is_trial or is_planned_wake):  # the starts of a trial are counted in the file `slot`
        cause = pins.reset_cause() if hasattr(pins, "reset_cause") else "unknown"
        safe_mode = crash.begin_start("" if slot.has_rolled_back else cause)
        if safe_mode:
            _drive_outputs(False)
        if config["watchdog"] and hasattr(pins, "watchdog"):
            print("%s: starting in %d s, press Ctrl-C to stop" % (_name, _CTRL_C_SECONDS))
            sleep(_CTRL_C_SECONDS)
    slot.select = slot.begin_trial = crash.begin_start = None  # frees the code that is not called again
    node.run(config, pins, safe_mode, _started_at)
    raise RuntimeError("the application has ended")


def _restart_after(error):
    """Report an error that ended the program, count the crash and reset the board after a delay."""
    crash = sys.modules.get("app.crash")
    if isinstance(error, SystemExit) and crash and crash.is_reset_expected:
        raise error  # a computer as a board ends the process to reset
    gc.collect()
    sys.print_exception(error)
    try:
        sys.modules["slot"].feed()
        from app import crash

        if not _is_trial:
            crash.count(error)
        crash.save(error)
    except KeyboardInterrupt:
        raise
    except BaseException as another:  # a version that does not work, or damaged flash
        print("crash not saved: %s" % another)
    print("%s: restarting in %d s" % (_name, _RESTART_SECONDS))
    sleep(_RESTART_SECONDS)
    try:
        sys.modules["pins"].reset()
    except Exception:  # `pins` could not be imported, or is that of a version that does not work
        __import__("machine").reset()


def _stop():
    """Keep the prompt after Ctrl-C, and print how to go on."""
    try:
        if _is_trial:
            sys.modules["slot"].forget_start()
        if "app.crash" in sys.modules:
            sys.modules[
                "app.crash"
            ].expect_reset()  # the watchdog may reset the board while it is at the prompt
    except Exception as error:
        print(error)
    print("%s: stopped. Press Ctrl-D to start again." % _name)
    if _is_trial or "app.watchdog" in sys.modules:
        print("The watchdog resets the board in 8 s. To keep the prompt: open('no_autostart', 'w').close()")


def _start():
    """Run the application, unless `no_autostart` exists; reset the board however the application ends."""
    try:
        os.stat("no_autostart")
        print("no_autostart exists: the application does not start. Delete this file, then reset.")
        _drive_outputs(False)
        return
    except OSError:
        pass
    try:
        try:
            main()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _restart_after(error)
    except KeyboardInterrupt:
        _stop()
        return
    sys.modules["pins"].halt()


_start()
