"""Runs a command, and records the command lines of it and of all programs that it starts."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.paths import ROOT


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return {**kept, "COLUMNS": "200", "PYTHONPATH": str(ROOT), **more}


def family(pid: int) -> set[int]:
    """Return a process and its descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, new = {pid}, [pid]
    while new:
        new = [child for one in new for child in children.get(one, [])]
        found.update(new)
    return found


def run_and_watch(command: Sequence[object], code: int = 0, **more: str) -> tuple[str, set[str]]:
    """Run a command. Return its output, and the command lines of it and of all programs that it starts."""
    seen: set[str] = set()
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=ROOT,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout
        output = b""
        while process.poll() is None or select.select([process.stdout], [], [], 0)[0]:
            for pid in family(process.pid):
                try:
                    seen.add(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"))
                except OSError:
                    continue
            if select.select([process.stdout], [], [], 0.005)[0]:
                data = os.read(process.stdout.fileno(), 65536)
                output += data
                if not data and process.poll() is not None:
                    break
    text = output.decode()
    assert process.returncode == code, text
    assert "Traceback (most recent call last)" not in text, text
    return text, seen
