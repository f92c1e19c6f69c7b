"""Runs of the VM, and what they print."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.bench.clients import Measured
from tools.paths import ROOT
from tools.vm import process as vm

# in the order of the results
KEYS = (
    "qos0_per_s",
    "qos0_aliased_per_s",
    "qos1_per_s",
    "qos1_window_per_s",
    "received_per_s",
    "qos0_bytes",
    "qos1_bytes",
    "qos2_bytes",
    "received_bytes",
    "idle_bytes",
    "import_held",
    "connect_held",
    "wire_bytes",
    "writes",
)


_HELD = """
import gc
gc.collect()
before = gc.mem_alloc()
{load}
gc.collect()
print('BENCH {{"held": %d}}' % (gc.mem_alloc() - before))
"""


class MeasureFailed(RuntimeError):
    """A run in the VM did not come to its end."""


@contextmanager
def responder() -> Iterator[int]:
    """The other side, as long as the block lasts; gives its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.bench.responder"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def run(code: str, folder: Path, heap: str = "2m", timeout: float = 120) -> dict[str, Any]:
    """The object that this code prints behind BENCH. Raises MeasureFailed."""
    process = vm.start(["-c", code], path=[folder, Path(".frozen")], heap=heap, cwd=folder)
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise MeasureFailed(f"not done after {timeout:.0f} s") from None
    finally:
        vm.stop(process)
    for line in output.splitlines():
        if line.startswith("BENCH "):
            found: dict[str, Any] = json.loads(line[6:])
            return found
    said = output.strip().splitlines()
    raise MeasureFailed(said[-1] if said else f"the VM ended with {process.returncode}")


def client(what: str, client: Measured, folder: Path, port: int, seconds: float = 0) -> dict[str, Any]:
    """One kind of measurement of one client: rates, memory or structure."""
    arguments = ", ".join(map(repr, (what, client.adaptor, client.load, port, seconds)))
    # without a collection garbage takes room
    found = run(f"import driver; driver.main({arguments})", folder, "64m" if what == "memory" else "2m")
    if what == "memory":
        # with nothing loaded before it: the table of names grows by leaps, which would hide some
        found["import_held"] = run(_HELD.format(load=client.load), folder)["held"]
        found["connect_held"] += found["import_held"]
    return found
