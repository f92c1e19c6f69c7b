"""The module `esp32` in the simulated world."""

WAKEUP_ALL_LOW, WAKEUP_ANY_HIGH = False, True


def raw_temperature():
    return 122


def wake_on_ext0(pin=None, level=False):
    pass
