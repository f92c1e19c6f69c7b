"""The table of names of MicroPython, which must not grow at a time when the heap is full."""

import gc
import sys

# Number of names for which the table has to have room, for the modules that are loaded later. The names that
# are added here stay in the table.
_SPARE_NAMES = 128
_MIN_GROWTH = 2000  # bytes


def grow_name_table(spare=_SPARE_NAMES):
    """Make MicroPython enlarge its table of names now, if it will have to do so soon.

    The table doubles, and then needs several KB of contiguous memory: 7 KB if it gets 640 entries on a 64-bit
    computer. Later the heap is fuller and fragmented, and the program would end with "memory allocation
    failed, allocating 640 bytes", a text that gives the number of entries, not of bytes.
    """
    if sys.implementation.name != "micropython":
        return
    for i in range(spare):
        before = gc.mem_alloc()
        hasattr(gc, "_%d_" % i)  # adds a name to the table
        if gc.mem_alloc() - before > _MIN_GROWTH:
            return
