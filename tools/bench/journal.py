"""Benchmark of the journal: rate, flash writes, erases and heap per message, with one or ten per sync."""

from __future__ import annotations

from pathlib import Path

from tools.bench.clients import VM_FOLDER, compile_file
from tools.bench.measure import run_in_vm
from tools.bundle.compiler import compile_package

# key of a figure: its label in the table
MEASURED = {
    "per_s": "messages per second",
    "bytes": "bytes written to the journal, per message",
    "syncs": "syncs per message",
    "programmed": "bytes that littlefs writes, per message",
    "erases": "blocks of 4096 bytes that littlefs erases, per message",
    "allocated_total": "bytes of heap allocated per message",
}
# kind of traffic: its label in the table
KINDS = {
    "qos1_each": "QoS 1, sync each",
    "qos1_batch": "QoS 1, sync every 10",
    "qos2_each": "QoS 2, sync each",
    "qos2_batch": "QoS 2, sync every 10",
}


def measure(folder: Path, port: int, seconds: float) -> dict[str, dict[str, float]]:
    """Return the figures by kind of traffic.

    `folder` contains the compiled umqtt5. `port` is that of the responder. `seconds` is the duration of
    each rate measurement.
    """
    # The measurement reads counters of internal classes, so it needs the library without short names.
    folder = folder / "full_names"
    compile_package(folder, 2, short_names=False)
    for name in ("driver", "client_umqtt5", "journal"):
        compile_file(VM_FOLDER, VM_FOLDER / f"{name}.py", folder)
    return run_in_vm(f"import journal; journal.main({port}, {seconds})", folder, "16m")
