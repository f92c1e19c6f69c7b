"""Benchmark of scaling: time per message with 1, 10 and 100 subscriptions, topics, messages in flight."""

from __future__ import annotations

from pathlib import Path

from tools.bench.clients import VM_FOLDER, compile_file
from tools.bench.measure import run_in_vm

_MESSAGES, _QUICK_MESSAGES = 200, 100  # messages per round


def measure(folder: Path, quick: bool) -> dict[str, dict[str, float]]:
    """Return microseconds per message by kind and number of items ("1", "10", "100").

    `folder` contains the compiled umqtt5.
    """
    compile_file(VM_FOLDER, VM_FOLDER / "scaling.py", folder)
    messages = _QUICK_MESSAGES if quick else _MESSAGES
    return run_in_vm(f"import scaling; scaling.scaling({messages})", folder)
