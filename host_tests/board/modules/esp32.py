"""`esp32` as far as a board at the end of a cable needs it."""


def raw_temperature():
    return 128  # degrees Fahrenheit


def mcu_temperature():
    return 53
