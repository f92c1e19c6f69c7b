"""The table of names of MicroPython, which must not grow at a time when the heap is full."""

import gc
import sys

# Number of names for which the table has to have room: the modules that are loaded later have up to 280. The
# names that are added here stay in the table, so a smaller number would only use up the room that is left.
_SPARE_NAMES = 280
_MIN_GROWTH = 2000  # bytes


def grow_name_table():
    """Make MicroPython enlarge its table of names now, if it will have to do so soon.

    The table doubles, and then needs several KB of contiguous memory: 7 KB if it gets 640 entries on a 64-bit
    computer. Later the heap is fuller and fragmented, and the program would end with "memory allocation
    failed, allocating 640 bytes", a text that gives the number of entries, not of bytes.
    """
    if sys.implementation.name != "micropython":
        return
    for i in range(_SPARE_NAMES):
        before = gc.mem_alloc()
        hasattr(gc, "_%d_" % i)  # adds a name to the table
        if gc.mem_alloc() - before > _MIN_GROWTH:
            return
