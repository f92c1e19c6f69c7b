"""What a journal costs per message at QoS 1 and 2, synced one by one and ten at a time."""

from __future__ import annotations

from pathlib import Path

from tools.bench.clients import VM_FOLDER, compile_file
from tools.bench.measure import run_in_vm

# what is measured, in words
MEASURED = {
    "per_s": "messages a second",
    "bytes": "bytes written to the journal, a message",
    "syncs": "syncs a message",
    "programmed": "bytes that littlefs writes, a message",
    "erases": "erases of 4096 bytes by littlefs, a message",
    "allocated_total": "heap allocated, a message, B",
}
KINDS = {
    "qos1_each": "QoS 1, each",
    "qos1_batch": "QoS 1, by ten",
    "qos2_each": "QoS 2, each",
    "qos2_batch": "QoS 2, by ten",
}


def measure(folder: Path, port: int, seconds: float) -> dict[str, dict[str, float]]:
    """Figures by kind of traffic; `folder` has umqtt5 and its side of the measurement."""
    compile_file(VM_FOLDER, VM_FOLDER / "journal.py", folder)
    return run_in_vm(f"import journal; journal.main({port}, {seconds})", folder, "16m")
