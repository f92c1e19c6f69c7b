"""Boot script (MicroPython runs it before main.py): sets up garbage collection, selects the A/B slot."""

import gc

import slot

# collect when a quarter of the free heap is used up, not when the heap is full: this limits fragmentation
gc.collect()
gc.threshold(gc.mem_free() // 4 + gc.mem_alloc())

slot.select()
