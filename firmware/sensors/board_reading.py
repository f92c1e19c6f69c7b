"""A value that the board itself can tell: one of its `READINGS`."""

from . import MEASUREMENT
from .schema import merge_fields

FIELDS = merge_fields()


def make(config, pins):
    return BoardReading(config["name"], *pins.READINGS[config["kind"]])


class BoardReading:
    def __init__(self, key, read, unit, device_class):
        self.quantities = ((key, unit, device_class, 2, MEASUREMENT),)
        self._read = read

    def start(self):
        return 0

    def read(self, values):
        values[0] = self._read()
