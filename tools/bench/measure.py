"""Runs of the VM, and what they print."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.bench.clients import BenchClient
from tools.paths import ROOT
from tools.vm import process

# in the order of the results
RESULT_KEYS = (
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
    server = subprocess.Popen(
        [sys.executable, "-m", "tools.bench.responder"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    try:
        yield int(server.stdout.readline())
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def run_in_vm(code: str, folder: Path, heap: str = "2m", timeout: float = 120) -> dict[str, Any]:
    """The object that this code prints behind BENCH. Raises MeasureFailed."""
    child = process.start_vm(["-c", code], module_path=[folder, Path(".frozen")], heap=heap, cwd=folder)
    try:
        output, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise MeasureFailed(f"not done after {timeout:.0f} s") from None
    finally:
        process.stop_vm(child)
    for line in output.splitlines():
        if line.startswith("BENCH "):
            found: dict[str, Any] = json.loads(line[6:])
            return found
    said = output.strip().splitlines()
    raise MeasureFailed(said[-1] if said else f"the VM ended with {child.returncode}")


def measure_client(
    what: str, client: BenchClient, folder: Path, port: int, seconds: float = 0
) -> dict[str, Any]:
    """One kind of measurement of one client: rates, memory or structure."""
    arguments = ", ".join(map(repr, (what, client.adapter, client.import_code, port, seconds)))
    # without a collection garbage takes room
    found = run_in_vm(f"import driver; driver.main({arguments})", folder, "64m" if what == "memory" else "2m")
    if what == "memory":
        # with nothing loaded before it: the table of names grows by leaps, which would hide some
        found["import_held"] = run_in_vm(_HELD.format(load=client.import_code), folder)["held"]
        found["connect_held"] += found["import_held"]
    return found
