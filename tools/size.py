"""`make size`: bytes of code and of heap, measured, and held against their budgets."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Annotated

import tomlkit
import typer
from rich.console import Console
from rich.table import Table

from tools.bundle.compiler import compile_package
from tools.paths import BUILD, ROOT
from tools.vm import process

BUDGETS = Path(__file__).with_name("size_budgets.toml")

# every client loads these
CORE = ("core", "__init__", "tcp")
# the rest is loaded by who uses it
FEATURES = {
    "aio": "the client under asyncio, and asyncio",
    "optional/topic_aliases": "topic aliases of the broker's",
    "optional/enhanced_auth": "enhanced authentication",
    "optional/blocking_publish": "publish(wait=True)",
    "optional/broker_failover": "several brokers",
    "link_statistics": "counters of the link",
    "optional/disconnect": "DISCONNECT with reason and properties",
    "optional/server_reference": "Server References",
    "serial": "a UART, a socket of the user's",
    "optional/manual_ack": 'overflow="wait", ack="manual"',
    "journal": "the outbox on flash",
    "optional/permanent_error": "errors that can't mend",
    "optional/property_rules": "checked properties of CONNECT and will",
    "optional/overflow_policy": "what gives way in a full outbox",
    "properties": "properties by name",
    "reason_codes": "reason codes in words",
    "optional/journal_recovery": "what a journal held",
    "request": "requests",
    "respond": "answers to requests",
    "robust": "the calls of umqtt.robust",
    "scram": "SCRAM-SHA-256",
    "simple": "the calls of umqtt.simple",
    "streaming": "payloads larger than the buffers",
    "streaming_receive": "the half that receives",
    "streaming_send": "the half that sends",
    "optional/strict": "strict=True",
    "tls": "TLS",
    "optional/timeouts": "a bound for each wait",
    "websocket": "WebSocket",
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

# what a feature adds to a client, with whatever it loads itself. The VM's table of names grows by
# some 3 KB at a time: it does so before, as a program of one's own would have made it do
_FEATURE_64 = """
import gc
from umqtt5 import Client
class Names: pass
for i in range(64): setattr(Names, "name_%%d" %% i, i)
gc.collect(); before = gc.mem_alloc()
import umqtt5.%s
gc.collect()
print("held", gc.mem_alloc() - before, 0)
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

Sizes = dict[str, dict[str, int]]


def _figures(output: str) -> tuple[int, int]:
    match = re.search(r"held (\d+) (\d+)", output)
    if not match:
        raise RuntimeError(f"the VM said: {output.strip()}")
    return int(match[1]), int(match[2])


def _held(folder: Path, code: str = _HELD_64) -> tuple[int, int]:
    """Heap in bytes on the 64-bit VM: what the compiled client holds after import, and one client."""
    child = process.start_vm(["-c", code], module_path=[folder], cwd=folder)
    output, _ = child.communicate(timeout=60)
    return _figures(output)


def measure(level: int) -> Sizes:
    """Bytes by part of the library, compiled at -O`level`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = compile_package(folder, level)
        heap, client = _held(folder)
        core = {"mpy": sum(sizes[name] for name in CORE), "heap": heap, "client": client}
        if process.has_vm_32():
            core["heap_32"] = _figures(process.run_vm_32(_HELD_32, [folder]))[0]
        figures: Sizes = {"core": core}
        for feature in FEATURES:
            figures[feature] = {
                "mpy": sizes[feature],
                "heap": _held(folder, _FEATURE_64 % feature.replace("/", "."))[0],
            }
    assert set(sizes) == {*CORE, *FEATURES}, "a module that is neither core nor feature"
    return figures


def exceeded_budgets(figures: Sizes, budgets: Sizes) -> list[str]:
    """A line for each budget that is passed or missing."""
    lines = []
    for name, figure in figures.items():
        for what in ("mpy", "heap"):
            budget = budgets.get(name, {}).get(what)
            if budget is None:
                lines.append(f"{name}: no budget for {what} in {BUDGETS.relative_to(ROOT)}")
            elif figure[what] > budget:
                lines.append(f"{name}: {figure[what]} bytes of {what}, its budget is {budget}")
    return lines


def main(
    level: Annotated[int, typer.Option("-O", min=0, max=3, help="the optimization of mpy-cross")] = 2,
) -> None:
    """Bytes of .mpy and of heap, for the core and for each feature; also in build/size.json.

    Fails where one takes more than its budget in tools/size_budgets.toml.
    """
    figures = measure(level)
    budgets: Sizes = tomlkit.parse(BUDGETS.read_text()).unwrap()
    table = Table("", f".mpy at -O{level}", "budget", "heap, 64-bit", "budget ")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, figure in figures.items():
        budget = budgets.get(name, {})
        label = f"{name}  [dim]{FEATURES.get(name, 'what every client loads')}[/]"
        cells = (figure["mpy"], budget.get("mpy", "?"), figure["heap"], budget.get("heap", "?"))
        table.add_row(label, *map(str, cells))
        if name == "core":
            table.add_section()
    console = Console(width=100)
    console.print(table)
    core = figures["core"]
    typer.echo(f"one client with 4 KB of buffers: {core['client']} bytes of heap more")
    if "heap_32" in core:
        typer.echo(f"the core on the 32-bit VM, without the TCP transport: {core['heap_32']} bytes of heap")
    else:
        typer.echo("the 32-bit VM needs node and npm, and `make test` installs it: its figure is left out")
    BUILD.mkdir(exist_ok=True)
    (BUILD / "size.json").write_text(json.dumps(figures, indent=2) + "\n")
    typer.echo(f"written to {BUILD.name}/size.json")
    if level == 2 and (lines := exceeded_budgets(figures, budgets)):
        typer.echo("\n".join(lines), err=True)
        raise typer.Exit(1)
