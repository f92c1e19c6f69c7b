"""Finds the smallest heap in which umqtt5 is imported, connects and publishes a hundred messages."""

from __future__ import annotations

from pathlib import Path

from tools.bench.clients import VM_FOLDER, compile_file
from tools.bench.measure import MeasureFailed, run_in_vm

_MIN_KB, MAX_KB = 8, 128  # range of the search


def runs_in_heap(folder: Path, port: int, kilobytes: int) -> bool:
    """Return whether a hundred publishes succeed in a heap of `kilobytes`.

    `folder` contains the compiled umqtt5 and smallest_heap. `port` is that of the responder.
    """
    try:
        run_in_vm(
            f"import smallest_heap; smallest_heap.main({port})", folder, heap=f"{kilobytes}k", timeout=30
        )
    except MeasureFailed:
        return False
    return True


def find_smallest_heap(folder: Path, port: int) -> int | None:
    """Return the smallest heap in KB, found by bisection between 8 and 128; None if 128 is too small."""
    compile_file(VM_FOLDER, VM_FOLDER / "smallest_heap.py", folder)
    low, high = _MIN_KB, MAX_KB
    if not runs_in_heap(folder, port, high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if runs_in_heap(folder, port, middle):
            high = middle
        else:
            low = middle
    return high
