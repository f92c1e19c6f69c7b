"""Script that runs on a board: prints what it is.

The line has the word `board`, the family (esp32, rp2, or the platform of something else), the name of the
build of MicroPython, - if it is not known, and the size of the heap in bytes.
"""

import gc
import sys


def family():
    """Return esp32 or rp2, by the module that only such a chip has, otherwise the platform."""
    for name in ("esp32", "rp2"):
        try:
            __import__(name)
            return name
        except ImportError:
            pass
    return sys.platform


print("board", family(), getattr(sys.implementation, "_build", "-"), gc.mem_free() + gc.mem_alloc())
