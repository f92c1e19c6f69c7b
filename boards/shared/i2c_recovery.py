"""Recovery of an I2C bus that a device holds low, for example after a reset during a transfer.

The device waits for clock pulses to send the rest of a byte. After at most nine pulses it releases SDA
(UM10204, 3.1.16). This module is loaded only after an error.
"""

from time import sleep_us

import machine

_HALF = 5  # us, half a clock period at 100 kHz


def free_bus(name):
    """Free the bus if it hangs, and initialize it again; returns "", or a text if a line is still low."""
    import pins

    number, scl, sda = pins.BUSES[name]
    if machine.Pin(scl).value() and machine.Pin(sda).value():
        return ""
    pull = machine.Pin.PULL_UP
    clock = machine.Pin(scl, machine.Pin.OPEN_DRAIN, pull, value=1)
    data = machine.Pin(sda, machine.Pin.OPEN_DRAIN, pull, value=1)
    sleep_us(_HALF)
    for _ in range(9):
        if data.value():
            break
        clock.value(0)
        sleep_us(_HALF)
        clock.value(1)
        sleep_us(_HALF)
    data.value(0)  # then the end of a transfer: SDA rises while SCL is high
    sleep_us(_HALF)
    data.value(1)
    sleep_us(_HALF)
    low = [
        "%s (GPIO %s)" % (line, gpio)
        for line, pin, gpio in (("SDA", data, sda), ("SCL", clock, scl))
        if not pin.value()
    ]
    # on each port this initializes the one object of the bus, which the drivers use
    machine.I2C(number, scl=machine.Pin(scl), sda=machine.Pin(sda), freq=100_000)
    return "the bus %s hangs: %s is held low" % (name, " and ".join(low)) if low else ""
