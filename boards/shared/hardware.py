"""What every board with a `machine` can do. `pins.py` takes it all over and says what differs.

A pin is a number of the chip's, or a name of the board's.
"""

import machine

# names of pins, filled in by `pins.py`
PIN_NAMES: dict = {}

_PULLS = {"up": machine.Pin.PULL_UP, "down": machine.Pin.PULL_DOWN, "none": None}


def resolve_pin(pin):
    return PIN_NAMES.get(pin, pin)


# ---- pins


def output(pin):
    """An output; it is off until it is told otherwise."""
    return machine.Pin(resolve_pin(pin), machine.Pin.OUT, value=0)


def pwm(pin, frequency):
    """PWM at an output; it is off until it is told otherwise."""
    return machine.PWM(output(pin), freq=frequency, duty_u16=0)


def pixels(pin, count):
    """A strip of NeoPixels at an output."""
    import neopixel

    return neopixel.NeoPixel(machine.Pin(resolve_pin(pin), machine.Pin.OUT), count)


def digital_input(pin, pull):
    """An input; `pull` is "up", "down" or "none"."""
    return machine.Pin(resolve_pin(pin), machine.Pin.IN, _PULLS[pull])


irq_pins: list = []  # the inputs that have interrupts


def on_edge(pin, handler, edge):
    """Call `handler(pin)` at an edge of an input, "rising", "falling" or "both", in an interrupt.

    It may not allocate.
    """
    if pin not in irq_pins:
        irq_pins.append(pin)
    triggers = {"rising": machine.Pin.IRQ_RISING, "falling": machine.Pin.IRQ_FALLING}
    trigger = triggers.get(edge, machine.Pin.IRQ_RISING | machine.Pin.IRQ_FALLING)
    try:
        pin.irq(handler=handler, trigger=trigger, hard=True)
    except TypeError:  # a port that only has soft ones
        pin.irq(handler=handler, trigger=trigger)


def open_drain(pin):
    """A pin for `dht` and `onewire`, which drive it and listen."""
    return machine.Pin(resolve_pin(pin), machine.Pin.OPEN_DRAIN, machine.Pin.PULL_UP)


_buses: dict = {}


def i2c(name):
    """The bus of this name: `BUSES` of `pins.py` has its number, SCL and SDA."""
    import pins

    if name not in _buses:
        number, scl, sda = pins.BUSES[name]
        _buses[name] = machine.I2C(number, scl=machine.Pin(scl), sda=machine.Pin(sda), freq=100_000)
    return _buses[name]


# ---- the chip

_CAUSES = {
    "PWRON_RESET": "power on",
    "HARD_RESET": "reset",
    "WDT_RESET": "watchdog",
    "DEEPSLEEP_RESET": "deep sleep",
    "SOFT_RESET": "soft reset",
}


def reset_cause():
    """Why the board has started, in words."""
    cause = machine.reset_cause()
    for name in _CAUSES:
        if getattr(machine, name, None) == cause:
            return _CAUSES[name]
    return "unknown"


def reset():
    machine.reset()


def halt():
    """Back to the REPL: a person has to mend something."""


def watchdog(timeout):
    """Starts it, ms; it resets the board where `feed()` does not come in time."""
    return machine.WDT(timeout=timeout)


def light_sleep(ms):
    """For `ms`, with what is in RAM kept. The radio has to be off."""
    machine.lightsleep(ms)


def deep_sleep(ms, feed=None):
    """Does not return: after `ms` the board starts as after a reset. `feed` feeds a watchdog that runs."""
    machine.deepsleep(ms)


def unique_id():
    """The chip's own bytes."""
    return machine.unique_id()


def set_clock(seconds):
    """Set the clock, to seconds since 1970, UTC."""
    from time import gmtime

    # the epoch of MicroPython may be 2000
    then = gmtime(seconds - (946684800 if gmtime(0)[0] == 2000 else 0))
    machine.RTC().datetime((then[0], then[1], then[2], then[6], then[3], then[4], then[5], 0))


def wifi_signal():
    """dBm."""
    import network

    return network.WLAN(network.STA_IF).status("rssi")
