"""`make size`: bytes of code and of heap, measured."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from tools import vm
from tools.bundle import compile_package
from tools.paths import BUILD

# what a client of QoS 0 and 1 loads; the rest is loaded by who calls it
FEATURES = {
    "aliases": "topic aliases of the broker's",
    "properties": "properties by name",
    "reasons": "reason codes in words",
}

_HELD_64 = """
import gc
gc.collect(); before = gc.mem_alloc()
from umqtt5 import Client, tcp
gc.collect(); imported = gc.mem_alloc()
client = Client("127.0.0.1", rx=1024, tx=1024, outbox=2048, inflight=8, aliases=8)
gc.collect()
print("held", imported - before, gc.mem_alloc() - imported)
"""

# the 32-bit VM has no sockets, and collects between the pieces
_HELD_32 = (
    "import gc\ngc.collect()",
    "before = gc.mem_alloc()\nfrom umqtt5 import Client\ngc.collect()",
    "imported = gc.mem_alloc()\n"
    "client = Client('', rx=1024, tx=1024, outbox=2048, inflight=8, aliases=8, transport=print)\n"
    "gc.collect()",
    "print('held', imported - before, gc.mem_alloc() - imported)",
)


def _figures(output: str) -> tuple[int, int]:
    match = re.search(r"held (\d+) (\d+)", output)
    if not match:
        raise RuntimeError(f"the VM said: {output.strip()}")
    return int(match[1]), int(match[2])


def held_64(folder: Path) -> tuple[int, int]:
    """Heap in bytes on the 64-bit VM: what the compiled client holds after import, and one client."""
    process = vm.start(["-c", _HELD_64], path=[folder], cwd=folder)
    output, _ = process.communicate(timeout=60)
    return _figures(output)


def main() -> None:
    """Bytes of .mpy by module, and the heap held on both VMs; also in build/size.json."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = compile_package(Path(folder))
        held = {"64-bit": held_64(Path(folder))}
        if vm.has_32_bit():
            held["32-bit, without the TCP transport"] = _figures(vm.run_32(_HELD_32, [Path(folder)]))
    core = sum(size for name, size in sizes.items() if name not in FEATURES)
    table = Table("module", "bytes of .mpy (-O3)")
    table.columns[1].justify = "right"
    for name, size in sizes.items():
        table.add_row(name + (f"  ({FEATURES[name]})" if name in FEATURES else ""), str(size))
    table.add_section()
    table.add_row("core", str(core))
    for what, (imported, one) in held.items():
        table.add_row(f"heap held after import, {what}", str(imported))
        table.add_row(f"one of them with its 4 KB of buffers, {what}", str(one))
    Console(width=100).print(table)
    if not vm.has_32_bit():
        typer.echo("the 32-bit VM needs node and npm, and `make test` installs it: its figures are left out")
    BUILD.mkdir(exist_ok=True)
    imported, one = held["64-bit"]
    figures: dict[str, dict[str, int]] = {"core": {"mpy": core, "heap": imported, "client": one}}
    if len(held) > 1:
        figures["core"]["heap_32"] = held["32-bit, without the TCP transport"][0]
    figures.update({name: {"mpy": sizes[name]} for name in FEATURES})
    (BUILD / "size.json").write_text(json.dumps(figures, indent=2) + "\n")
    typer.echo(f"written to {BUILD.name}/size.json")
