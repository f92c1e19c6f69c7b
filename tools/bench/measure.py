"""Runs measurements in the MicroPython VM and reads the JSON results that they print."""

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

# figures of a client, in the order of bench.json
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


_IMPORT_HELD = """
import gc
gc.collect()
before = gc.mem_alloc()
{import_code}
gc.collect()
print('BENCH {{"held": %d}}' % (gc.mem_alloc() - before))
"""


class MeasureFailed(RuntimeError):
    """A measurement in the VM failed: it raised an error, printed no result, or took too long."""


@contextmanager
def responder() -> Iterator[int]:
    """Run the responder process for the duration of the block; yields its port."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tools.bench.responder"], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert server.stdout
    try:
        yield int(server.stdout.readline())
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def run_in_vm(code: str, folder: Path, heap: str = "2m", timeout: float = 120) -> dict[str, Any]:
    """Run code in the VM; returns the JSON object that it prints after `BENCH `.

    `folder` is the working directory and the module path. `timeout` is in seconds. Raises MeasureFailed.
    """
    child = process.start_vm(["-c", code], module_path=[folder, Path(".frozen")], heap=heap, cwd=folder)
    try:
        output, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise MeasureFailed(f"no result after {timeout:.0f} s") from None
    finally:
        process.stop_vm(child)
    for line in output.splitlines():
        if line.startswith("BENCH "):
            figures: dict[str, Any] = json.loads(line[6:])
            return figures
    lines = output.strip().splitlines()
    raise MeasureFailed(lines[-1] if lines else f"the VM printed nothing and exited with {child.returncode}")


def measure_client(
    kind: str, client: BenchClient, folder: Path, port: int, seconds: float = 0
) -> dict[str, Any]:
    """Take one kind of measurement of a client: "rates", "memory" or "structure".

    `folder` contains the compiled client. `port` is that of the responder. `seconds` is the duration of
    each rate measurement. Raises MeasureFailed.
    """
    arguments = ", ".join(map(repr, (kind, client.adapter, client.import_code, port, seconds)))
    # Memory is measured with the collector disabled, so the heap must have room for the garbage.
    heap = "64m" if kind == "memory" else "2m"
    figures = run_in_vm(f"import driver; driver.main({arguments})", folder, heap)
    if kind == "memory":
        # Measured in a separate VM. The VM's table of interned strings grows in large steps: free space that
        # earlier imports left in the table would hide part of the memory.
        code = _IMPORT_HELD.format(import_code=client.import_code)
        figures["import_held"] = run_in_vm(code, folder)["held"]
        figures["connect_held"] += figures["import_held"]
    return figures
