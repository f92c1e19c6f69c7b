"""Free heap in bytes, after a garbage collection."""

import gc

from . import MEASUREMENT
from .schema import merge_fields

FIELDS = merge_fields(period=(float, 60, 0.1, 86400, "seconds, 0.1 to 86400"))


def make(config, pins):
    return HeapFree()


class HeapFree:
    """The driver; it collects garbage before it reads the free heap."""

    quantities = (("heap_free", "B", "data_size", 0, MEASUREMENT),)

    def start(self):
        return 0

    def read(self, values):
        gc.collect()
        values[0] = gc.mem_free()
