"""Boot script (MicroPython runs it before main.py): configures garbage collection, selects the A/B slot."""

import gc

import slot

# collect garbage after this many allocated bytes, not only when the heap is full: limits fragmentation
gc.collect()
gc.threshold(gc.mem_free() // 4 + gc.mem_alloc())

slot.select()
