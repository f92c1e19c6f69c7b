"""`make docs-figures`: writes measured figures into the documents.

A document marks each place with a pair of comments:

    <!-- begin: make size -->
    (written by the command)
    <!-- end: make size -->

The text between them is replaced. Rates and everything else that depends on the machine are written by
`make bench ARGS=--update-docs` instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from tools import decode_traceback, size
from tools.bundle import package_tree, savings, source_lines
from tools.errors import UserError
from tools.paths import ROOT


@cache
def _sizes() -> size.Sizes:
    return size.measure(2)


def core_sizes() -> str:
    """What every client needs."""
    core = _sizes()["core"]
    rows = [
        ("code of the core, `.mpy` at -O2", core["mpy"]),
        ("heap after importing the core from `.mpy`, 64-bit VM", core["heap"]),
        (
            "heap after importing the core from `.mpy`, 32-bit VM, without the TCP transport",
            core.get("heap_32"),
        ),
        ("heap of one client with 4 KB of buffers, 64-bit VM", core["client"]),
    ]
    return _table(["", "bytes"], [[label, _number(value)] for label, value in rows])


def feature_sizes() -> str:
    """What each optional feature adds to a client."""
    rows = [
        [f"`{name}`", size.FEATURES[name], _number(figures["mpy"]), _number(figures["heap"])]
        for name, figures in _sizes().items()
        if name != "core"
    ]
    return _table(["module", "feature", ".mpy, B", "heap, B"], rows, 2)


def decoded_line() -> str:
    """An example of `decode-traceback`: the first statement of a function of the device application."""
    lines = source_lines.map_source_lines(package_tree.APPLICATION, "node")
    node = next(
        node
        for node in ast.walk(package_tree.APPLICATION.modules["node/node"])
        if isinstance(node, ast.FunctionDef) and node.name == "step"
    )
    body = range(node.body[1].lineno, (node.end_lineno or 0) + 1)
    number = next(n for n, line in lines.items() if line.module == "node/node" and line.line in body)
    shown = decode_traceback.find_source_line("node", number)
    return f"```\n$ python -m tools decode-traceback node {number}\n{shown}\n```\n"


# column of the table in the README: row of the table of `make bench`
_SUMMARY = {
    "heap in use": "heap in use after connect, B",
    "per message sent": "heap allocated per QoS 0 message, B",
    "per message received": "heap allocated per received message, B",
    "messages/s": "QoS 0, messages/s",
}
_NOT_IN_SUMMARY = ("baseline", "umqtt.simple2", "aiomqttc")


def bench_summary() -> str:
    """The table of the README: a part of the measured table in docs/bench.md, with a row for each client."""
    page = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|")
    ]
    clients = rows[0][1:]
    figures = {row[0]: row[1:] for row in rows}
    lines = [
        [client, *(figures[name][i] + " B" * name.endswith(", B") for name in _SUMMARY.values())]
        for i, client in enumerate(clients)
        if client.rstrip("*") not in _NOT_IN_SUMMARY
    ]
    return _table(["client", *_SUMMARY], lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "make size": core_sizes,
    "make bench: summary": bench_summary,
    "make size: features": feature_sizes,
    "savings of the board image": cache(savings.markdown),
    "decode-traceback": decoded_line,
}
_BLOCK = re.compile(r"(<!-- begin: ([^>]+) -->\n)(.*?)(<!-- end: \2 -->)", re.DOTALL)


def documents() -> list[Path]:
    """The pages that may hold figures."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def with_figures(text: str) -> str:
    """A document with the current figures. The blocks of other commands are left unchanged."""

    def fill(found: re.Match[str]) -> str:
        if found[2] not in BLOCKS:
            return found[0]
        return found[1] + BLOCKS[found[2]]() + found[4]

    return _BLOCK.sub(fill, text)


def stale_blocks(text: str, new: str) -> list[str]:
    """The names of blocks whose text differs; heap figures may differ by 64 bytes or half a percent."""
    stale = []
    for before, after in zip(_BLOCK.finditer(text), _BLOCK.finditer(new), strict=True):
        if not _is_close(before[3], after[3]):
            stale.append(before[2])
    return stale


def _is_close(text: str, other: str) -> bool:
    number = re.compile(r"-?\d[\d,]*")
    if number.sub("0", text) != number.sub("0", other):
        return False
    pairs = zip(number.findall(text), number.findall(other), strict=True)
    values = [(int(a.replace(",", "")), int(b.replace(",", ""))) for a, b in pairs]
    return all(abs(a - b) <= max(64, abs(b) // 200) for a, b in values)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _table(head: list[str], rows: list[list[str]], text_columns: int = 1) -> str:
    line = "|" + "---|" * text_columns + "---:|" * (len(head) - text_columns)
    return (
        "\n".join(["| " + " | ".join(head) + " |", line, *("| " + " | ".join(r) + " |" for r in rows)]) + "\n"
    )


def main(
    check: Annotated[bool, typer.Option("--check", help="write nothing, fail if a figure is stale")] = False,
) -> None:
    """Write measured figures into README.md and docs/, between their comment markers."""
    stale = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        new = with_figures(text)
        if blocks := stale_blocks(text, new):
            stale += [f"{path.relative_to(ROOT)}: {name}" for name in blocks]
            if not check:
                path.write_text(new, encoding="utf-8")
    if check and stale:
        raise UserError("stale figures:\n" + "\n".join(stale) + "\nTry: make docs-figures")
    typer.echo("\n".join(f"written: {line}" for line in stale) or "all figures are up to date")
