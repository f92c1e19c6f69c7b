"""`machine` as far as a board at the end of a cable needs it: pins that keep their level."""

import os
import sys

PWRON_RESET = 1


class Pin:
    IN = 0
    OUT = 1
    PULL_UP = 2

    def __init__(self, number, mode=-1, pull=-1, value=None):
        self._file = "pin-%s" % number
        if value is not None:
            self.value(value)

    def value(self, level=None):
        """The level is that of a file, so that a test can see it."""
        if level is None:
            try:
                with open(self._file) as file:
                    return int(file.read())
            except OSError:
                return 0
        with open(self._file, "w") as file:
            file.write("1" if level else "0")


class ADC:
    def __init__(self, channel):
        pass

    def read_u16(self):
        return 14000  # 27 degrees on an RP2040


def unique_id():
    return bytes.fromhex(os.getenv("UNIQUE_ID") or "000000000000")


def reset_cause():
    return PWRON_RESET


def reset():
    sys.exit(4)


def bootloader(timeout=0):
    sys.exit(3)
