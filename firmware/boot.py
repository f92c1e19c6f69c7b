"""Boot script (MicroPython runs it before main.py): configures garbage collection, selects the A/B slot."""

import gc
import sys

# also collect garbage each time this many bytes have been allocated, not only when the heap is full:
# this limits fragmentation
gc.collect()
gc.threshold(gc.mem_free() // 4 + gc.mem_alloc())

try:
    import slot

    slot.select()
except Exception as error:  # MicroPython does not run main.py after an exception in boot.py
    sys.print_exception(error)
