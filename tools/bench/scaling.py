"""Per-message cost of umqtt5 at 1, 10 and 100 subscriptions, topics and messages in flight."""

from __future__ import annotations

from pathlib import Path

from tools.bench.clients import VM_FOLDER, compile_file
from tools.bench.measure import run_in_vm

# how many messages a round has; the best of forty rounds counts
_MESSAGES, _QUICK = 200, 100


def measure(folder: Path, quick: bool) -> dict[str, dict[str, float]]:
    """Microseconds per message by what grows and how many there are; `folder` has umqtt5."""
    compile_file(VM_FOLDER, VM_FOLDER / "scaling.py", folder)
    return run_in_vm(f"import scaling; scaling.scaling({_QUICK if quick else _MESSAGES})", folder)
