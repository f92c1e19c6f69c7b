"""Runs first, returns at once: `main.py` is next."""

import gc

import slot

# collect when a quarter of what is free has been used, not when nothing is left: small holes
# are closed before they are many
gc.collect()
gc.threshold(gc.mem_free() // 4 + gc.mem_alloc())

slot.choose()
