"""The other address of a sensor with an address pin. It is loaded when a sensor does not answer."""

_TIMEOUTS = (110, 116)  # ETIMEDOUT, by port: the bus hangs, so no address answers


def other_address(driver, drivers, error):
    """Return the other address to try after `error`, None if the sensor must not be at this address.

    `drivers` are all drivers of this kind. The sensor must not be at an address in the config, and it is
    ambiguous which of two sensors without an address in the config answers.
    """
    if driver.is_fixed or (error.args and error.args[0] in _TIMEOUTS):
        return None
    other = driver.address ^ 1
    for another in drivers:
        if another is not driver and another.bus is driver.bus:
            if another.address == other or not another.is_fixed:
                return None
    return other
