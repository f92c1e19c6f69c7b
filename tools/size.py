"""The command `size`: measures code size and heap of the core and of each feature, and checks budgets."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from tools.bundle.compiler import compile_package
from tools.console import Console
from tools.paths import BUILD, ROOT
from tools.text_files import read_toml
from tools.vm import process

BUDGETS = Path(__file__).with_name("size_budgets.toml")

# files that every client loads
CORE = ("core", "__init__", "tcp")
# other files of the library, each with the feature that it implements
FEATURES = {
    "aio": "asyncio client, including asyncio",
    "optional/coroutine_error": "error for coroutine functions as handlers",
    "optional/coroutine_handlers": "coroutine functions as handlers (asyncio)",
    "optional/topic_aliases": "topic aliases from the broker",
    "optional/enhanced_auth": "enhanced authentication",
    "optional/blocking_publish": "blocking publish(wait=True)",
    "optional/broker_failover": "failover between brokers",
    "link_statistics": "link statistics",
    "dns": "host names: lookup over UDP, DNS and mDNS",
    "optional/dns_message": "host names: DNS messages",
    "optional/system_names": "host names: servers of the system, getaddrinfo",
    "optional/unix_names": "host names: files of the unix port",
    "optional/disconnect": "DISCONNECT with reason and properties",
    "optional/server_reference": "Server Reference redirect",
    "serial": "UART, or another stream that you open",
    "optional/manual_ack": 'manual acknowledgement: ack="manual", overflow="wait"',
    "journal": "journal: outbox on flash",
    "optional/link_error": "address of the broker in network errors",
    "optional/permanent_error": "permanent errors",
    "optional/error_texts": "texts of errors",
    "optional/protocol_error": "texts of protocol errors",
    "optional/argument_errors": "texts of errors in arguments",
    "optional/property_rules": "validation of CONNECT and will properties",
    "optional/overflow_policy": "overflow policy of the outbox",
    "properties": "MQTT properties by name",
    "reason_codes": "names of reason codes",
    "optional/journal_recovery": "recovery of a journal",
    "optional/record_reader": "reading of a journal at the start",
    "optional/record_search": "search for records in a damaged journal",
    "request": "request/response: client that requests",
    "respond": "request/response: client that responds",
    "robust": "API of umqtt.robust",
    "scram": "SCRAM-SHA-256",
    "simple": "API of umqtt.simple",
    "optional/simple_socket": "API of umqtt.simple: socket",
    "stored_subscriptions": "subscriptions of an earlier program",
    "streaming": "streaming of large payloads",
    "streaming_receive": "streaming: receiving",
    "streaming_send": "streaming: sending",
    "optional/strict": "strict protocol checks (strict=True)",
    "tls": "TLS transport",
    "optional/tls_errors": "TLS: words of errors, permanent errors",
    "optional/tls_options": "TLS: pre-shared keys, chains, ALPN",
    "optional/ssl_params": "umqtt5.simple: ssl_params",
    "optional/subscribe_options": "lists of filters, user properties of SUBSCRIBE, chosen identifiers",
    "optional/credentials": "user name and password from functions",
    "optional/packet_text": "print(message)",
    "optional/give_up": "messages that are given up or cancelled",
    "optional/timeouts": "separate timeouts for each kind of wait",
    "websocket": "WebSocket transport",
    "wifi": "Wi-Fi",
    "optional/wifi_radio": "Wi-Fi: radio, causes of failures, unloaded after use",
    "optional/websocket_errors": "error messages of the WebSocket transport",
}

_MEASURE_64 = """
import gc
gc.collect(); before = gc.mem_alloc()
from umqtt5 import Client, tcp
gc.collect(); imported = gc.mem_alloc()
client = Client("127.0.0.1", rx=1024, tx=1024, outbox=2048, inflight=8, aliases=8)
gc.collect()
print("held", imported - before, gc.mem_alloc() - imported)
"""

# heap that a feature and the modules that it imports add to a client. The VM's table of interned names grows
# in steps of about 3 KB. The first lines trigger such a step, so that it does not count for the feature
_MEASURE_FEATURE_64 = """
import gc
from umqtt5 import Client
grown, i = 0, 0
while grown < 1500:
    before = gc.mem_alloc()
    hasattr(gc, "name_%%d" %% i)
    grown = gc.mem_alloc() - before
    i += 1
gc.collect(); before = gc.mem_alloc()
import umqtt5.%s
gc.collect()
print("held", gc.mem_alloc() - before, 0)
"""

# the 32-bit VM has no sockets, and collects garbage only between the pieces of code
_MEASURE_32 = (
    "import gc\ngc.collect()",
    "before = gc.mem_alloc()\nfrom umqtt5 import Client\ngc.collect()",
    "imported = gc.mem_alloc()\n"
    "client = Client('', rx=1024, tx=1024, outbox=2048, inflight=8, aliases=8, transport=print)\n"
    "gc.collect()",
    "print('held', imported - before, gc.mem_alloc() - imported)",
)

Sizes = dict[str, dict[str, int]]


def _parse_heap(output: str) -> tuple[int, int]:
    match = re.search(r"held (\d+) (\d+)", output)
    if not match:
        raise RuntimeError(f"unexpected output of the VM: {output.strip()}")
    return int(match[1]), int(match[2])


def _measure_heap(folder: Path, code: str = _MEASURE_64) -> tuple[int, int]:
    """Run code on the 64-bit VM. Return the two heap sizes that it prints, in bytes."""
    child = process.start_vm(["-c", code], module_path=[folder], cwd=folder)
    output, _ = child.communicate(timeout=60)
    return _parse_heap(output)


def measure(level: int) -> Sizes:
    """Return the sizes of the core and of each feature in bytes, compiled at -O`level`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = compile_package(folder, level)
        heap, client = _measure_heap(folder)
        core = {"mpy": sum(sizes[name] for name in CORE), "heap": heap, "client": client}
        if process.has_vm_32():
            core["heap_32"] = _parse_heap(process.run_vm_32(_MEASURE_32, [folder]))[0]
        figures: Sizes = {"core": core}
        for feature in FEATURES:
            figures[feature] = {
                "mpy": sizes[feature],
                "heap": _measure_heap(folder, _MEASURE_FEATURE_64 % feature.replace("/", "."))[0],
            }
    assert set(sizes) == {*CORE, *FEATURES}, "every module must be in CORE or FEATURES"
    return figures


def exceeded_budgets(figures: Sizes, budgets: Sizes) -> list[str]:
    """Return a line for each size that exceeds its budget or has none."""
    lines = []
    for name, figure in figures.items():
        for kind in ("mpy", "heap"):
            budget = budgets.get(name, {}).get(kind)
            if budget is None:
                lines.append(f"{name}: no budget for {kind} in {BUDGETS.relative_to(ROOT)}")
            elif figure[kind] > budget:
                lines.append(f"{name}: {figure[kind]} bytes of {kind} exceed the budget of {budget}")
    return lines


def main(
    level: Annotated[int, typer.Option("-O", min=0, max=3, help="optimization level of mpy-cross")] = 2,
) -> None:
    """Measure code size and heap of the core and of each feature.

    The results are also written to build/size.json. At -O2, fails if a size exceeds its budget in
    tools/size_budgets.toml, or has none.
    """
    figures = measure(level)
    budgets: Sizes = read_toml(BUDGETS)
    table = Table("", f".mpy at -O{level}", "budget", "heap, 64-bit", "budget ")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, figure in figures.items():
        budget = budgets.get(name, {})
        label = Text.assemble(f"{name}  ", (FEATURES.get(name, "loaded by every client"), "dim"))
        cells = (figure["mpy"], budget.get("mpy", "?"), figure["heap"], budget.get("heap", "?"))
        table.add_row(label, *map(str, cells))
        if name == "core":
            table.add_section()
    console = Console(width=100)
    console.print(table)
    core = figures["core"]
    typer.echo(f"one client with 4 KB of buffers: {core['client']} more bytes of heap")
    if "heap_32" in core:
        typer.echo(f"the core on the 32-bit VM, without the TCP transport: {core['heap_32']} bytes of heap")
    else:
        typer.echo("the core on the 32-bit VM: not measured, because the VM is not installed. Run: make test")
    BUILD.mkdir(exist_ok=True)
    (BUILD / "size.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"written to {BUILD.name}/size.json")
    if level == 2 and (lines := exceeded_budgets(figures, budgets)):
        typer.echo("\n".join(lines), err=True)
        raise typer.Exit(1)
