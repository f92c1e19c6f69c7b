"""The paths and the functions of MicroPython's `time` that the device part of an update needs on CPython."""

import sys
import time
from pathlib import Path

from tools.paths import FIRMWARE, LIB

for folder in (Path(__file__).parent.parent / "unit", LIB, FIRMWARE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import umqtt5.cpython.compat  # noqa: E402, F401  it provides `micropython`

time.ticks_ms = lambda: time.monotonic_ns() // 1_000_000  # type: ignore[attr-defined]
time.ticks_diff = lambda a, b: a - b  # type: ignore[attr-defined]
time.ticks_add = lambda a, b: a + b  # type: ignore[attr-defined]
