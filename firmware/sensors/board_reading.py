"""Readings of the board itself, such as chip temperature and Wi-Fi signal: the `READINGS` of its pins.py."""

from . import MEASUREMENT
from .schema import merge_fields

FIELDS = merge_fields()


def make(config, pins):
    return BoardReading(config["name"], *pins.READINGS[config["kind"]])


class BoardReading:
    """The driver; the argument `read` is a function that returns the value."""

    def __init__(self, key, read, unit, device_class):
        self.quantities = ((key, unit, device_class, 2, MEASUREMENT),)
        self._read = read

    def start(self):
        return 0

    def read(self, values):
        values[0] = self._read()
