"""Hardware functions for all boards with a `machine` module: pins, PWM, I2C, watchdog, sleep, clock.

The board's `pins.py` imports all of these functions. A pin is a GPIO number or a name in PIN_NAMES.
"""

import machine

PIN_NAMES: dict = {}  # GPIO numbers by name; `pins.py` adds the entries

_PULLS = {"up": machine.Pin.PULL_UP, "down": machine.Pin.PULL_DOWN, "none": None}


def resolve_pin(pin):
    """Return the GPIO of a pin name; any other value is returned unchanged."""
    return PIN_NAMES.get(pin, pin)


# ---- pins


def output(pin, level=0):
    """Return an output pin that drives `level`, 0 or 1, from its first moment as an output."""
    # both ports set the level before the direction: ports/esp32/machine_pin.c and ports/rp2/machine_pin.c,
    # machine_pin_obj_init_helper()
    return machine.Pin(resolve_pin(pin), machine.Pin.OUT, value=level)


def driven_level(pin):
    """Return the level that a pin drives since an earlier program, None if it is not an output.

    An ESP32 keeps its outputs over a restart and a watchdog reset, an RP2 only over a soft reset.
    """
    # without a mode the constructor does not change the pin; only the text of a Pin shows its mode, and on an
    # ESP32 only since ESP-IDF 5.5: machine_pin_print()
    pin = machine.Pin(resolve_pin(pin))
    return pin.value() if "OUT" in repr(pin) else None


def pwm(pin, frequency, duty=0):
    """Return a PWM output with the `frequency` in Hz and the `duty` cycle, 0 to 65535."""
    # the duty cycle is set before the PWM drives the pin: ledc_channel_config() of ESP-IDF starts at the low
    # level, and mp_machine_pwm_make_new() of ports/rp2/machine_pwm.c selects the function of the pin last
    return machine.PWM(machine.Pin(resolve_pin(pin)), freq=frequency, duty_u16=duty)


def pixels(pin, count):
    """Return a strip of NeoPixels. It shows its last colors until the first `write()`."""
    import neopixel

    return neopixel.NeoPixel(output(pin), count)


def digital_input(pin, pull):
    """Return an input; `pull` is "up", "down" or "none"."""
    return machine.Pin(resolve_pin(pin), machine.Pin.IN, _PULLS[pull])


irq_pins: list = []  # inputs with an interrupt handler


def on_edge(pin, handler, edge):
    """Call `handler(pin)` in an interrupt at each edge of an input: "rising", "falling" or "both".

    The handler must not allocate memory. Returns False if the port has only soft interrupts: they run later
    if the program is in a long function of C, for example in a TLS handshake.
    """
    if pin not in irq_pins:
        irq_pins.append(pin)
    triggers = {"rising": machine.Pin.IRQ_RISING, "falling": machine.Pin.IRQ_FALLING}
    trigger = triggers.get(edge, machine.Pin.IRQ_RISING | machine.Pin.IRQ_FALLING)
    try:
        pin.irq(handler=handler, trigger=trigger, hard=True)
        return True
    except TypeError:
        pin.irq(handler=handler, trigger=trigger)
        return False


def open_drain(pin):
    """Return an open-drain pin with a pull-up, which the drivers `dht` and `onewire` require."""
    return machine.Pin(resolve_pin(pin), machine.Pin.OPEN_DRAIN, machine.Pin.PULL_UP)


_buses: dict = {}


def i2c(name):
    """Return the I2C bus of this name; its number, SCL and SDA are in `BUSES` in `pins.py`."""
    import pins

    if name not in _buses:
        number, scl, sda = pins.BUSES[name]
        _buses[name] = machine.I2C(number, scl=machine.Pin(scl), sda=machine.Pin(sda), freq=100_000)
    return _buses[name]


def free_i2c(name):
    """Free an I2C bus that a device holds low; returns "", or a text if the bus still hangs."""
    from i2c_recovery import free_bus

    return free_bus(name)


# ---- the chip

_CAUSES = {
    "PWRON_RESET": "power on",
    "HARD_RESET": "reset",
    "WDT_RESET": "watchdog",
    "DEEPSLEEP_RESET": "deep sleep",
    "SOFT_RESET": "soft reset",
}


def reset_cause():
    """Return the reset cause: "power on", "reset", "watchdog", "deep sleep", "soft reset" or "unknown"."""
    cause = machine.reset_cause()
    for name in _CAUSES:
        if getattr(machine, name, None) == cause:
            return _CAUSES[name]
    return "unknown"


def reset():
    """Reset the board."""
    machine.reset()


def halt():
    """Do nothing: after an error that a person has to correct, main.py ends and the REPL starts."""


def watchdog(timeout):
    """Start and return the watchdog: it resets the board if `feed()` is not called for `timeout` ms."""
    return machine.WDT(timeout=timeout)


def light_sleep(ms):
    """Sleep for `ms`; RAM keeps its content. The radio must be off."""
    machine.lightsleep(ms)


def deep_sleep(ms, feed=None):
    """Sleep for `ms`, then start as after a reset. `feed` is used only in `rp2_common`."""
    machine.deepsleep(ms)


def unique_id():
    """Return the unique identifier of the chip as bytes."""
    return machine.unique_id()


def set_clock(seconds):
    """Set the clock to UTC, in seconds since 1970."""
    from time import gmtime

    # the epoch of MicroPython is 1970 or 2000, depending on the port
    then = gmtime(seconds - (946684800 if gmtime(0)[0] == 2000 else 0))
    machine.RTC().datetime((then[0], then[1], then[2], then[6], then[3], then[4], then[5], 0))


def wifi_signal():
    """Return the strength of the Wi-Fi signal (RSSI) in dBm."""
    import network

    return network.WLAN(network.STA_IF).status("rssi")
