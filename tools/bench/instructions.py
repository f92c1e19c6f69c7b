"""Counts the processor instructions of a message with valgrind: `python -m tools.bench.instructions`.

A stream in memory takes the place of the network, so the kernel does not count. The figure is the difference
of two runs with different numbers of messages. It does not depend on other load, and hardly on the computer.
It includes the stream, which is written in Python, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tools.bench.clients import CLIENTS, OURS, SIMPLE, VM_FOLDER, compile_file, prepare_client
from tools.bench.command import write_docs
from tools.console import echo
from tools.errors import UserError
from tools.vm import process

BEGIN, END = "<!-- begin: instructions -->\n", "<!-- end: instructions -->\n"
KINDS = (
    "QoS 0, topic alias",
    "QoS 0",
    "QoS 1 and its PUBACK",
    "received",
    "received, Subscription Identifier",
    "idle poll",
)
_FEW, _MANY = 200, 1200  # messages of the two runs
_ONLY_OURS = (KINDS[0], KINDS[4])


def count(folder: Path, client: str, kind: str) -> float:
    """Return the instructions of one message; `folder` has the compiled client and program."""
    few, many = (_count(folder, client, kind, n) for n in (_FEW, _MANY))
    return (many - few) / (_MANY - _FEW)


def _count(folder: Path, client: str, kind: str, n: int) -> int:
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [process.find_executable(), "-X", "heapsize=2m", "-m", "instructions", client, kind, str(n)]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "MICROPYPATH": f"{folder}{os.pathsep}.frozen"},
        capture_output=True,
        encoding="utf-8",
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if not found or "done" not in done.stdout:
        raise UserError(f"{client}, {kind}: the program failed: {(done.stdout + done.stderr)[-500:]}")
    return int(found[1].replace(",", ""))


def measure() -> dict[str, dict[str, float | None]]:
    """Return the instructions by kind of message and client, None for what a client does not have."""
    if not shutil.which("valgrind"):
        raise UserError("valgrind is not installed. Run: apt-get install valgrind")
    figures: dict[str, dict[str, float | None]] = {kind: {} for kind in KINDS}
    with tempfile.TemporaryDirectory() as root:
        for client in CLIENTS:
            if client.name not in (OURS, SIMPLE):
                continue
            folder = Path(root) / client.name
            folder.mkdir()
            prepare_client(client, folder)
            compile_file(VM_FOLDER, VM_FOLDER / "instructions.py", folder)
            for kind in KINDS:
                has_kind = client.name == OURS or kind not in _ONLY_OURS
                figures[kind][client.name] = count(folder, client.name, kind) if has_kind else None
    return figures


def render(figures: dict[str, dict[str, float | None]]) -> str:
    """Return the figures as a Markdown table."""
    lines = [f"| instructions per message | {OURS} | {SIMPLE} |", "|---|---:|---:|"]
    for kind, by_client in figures.items():
        cells = ["-" if value is None else f"{value:,.0f}" for value in by_client.values()]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(
    update_docs: Annotated[
        bool, typer.Option("--update-docs", help="write the table into docs/bench.md")
    ] = False,
) -> None:
    """Count the processor instructions of a message, with umqtt5 and umqtt.simple. Needs valgrind."""
    text = render(measure())
    echo(text)
    if update_docs:
        write_docs(text, begin=BEGIN, end=END)


if __name__ == "__main__":
    typer.run(main)
