"""Diagnosis of the bus of a sensor that fails: frees an I2C bus that hangs, and lists the devices on the bus.

This module is loaded only after a failure, and unloaded afterwards.
"""

from .node.modules import release_modules


def diagnose(driver, error, is_new, pins):
    """Return a hint to append to the text of an error, for a new one; otherwise only free the bus.

    `driver.bus` is an I2C bus with the name `driver.bus_name` in `BUSES` of the board, or a 1-Wire bus.
    """
    if not hasattr(driver, "bus_name"):
        return _format([_to_hex(rom) for rom in driver.bus.scan()]) if is_new else ""
    problem = ""
    if isinstance(error, OSError) and hasattr(pins, "free_i2c"):
        problem = pins.free_i2c(driver.bus_name)
        release_modules("i2c_recovery")
    if not is_new:
        return ""
    if problem:
        return "; " + problem
    return _format(["0x%02x" % address for address in driver.bus.scan()])


def _format(devices):
    return "; on the bus: " + ", ".join(devices) if devices else "; no device answers on the bus"


def _to_hex(rom):
    return "".join(["%02x" % octet for octet in rom])
