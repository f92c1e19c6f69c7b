"""The results as tables: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.bench.bars import bars

MEASURED = (
    ("qos0_per_s", "QoS 0 a second"),
    ("qos0_aliased_per_s", "QoS 0 by alias a second"),
    ("qos1_per_s", "QoS 1 a second, one at a time"),
    ("qos1_window_per_s", "QoS 1 a second, twenty in flight"),
    ("received_per_s", "received a second"),
    ("qos0_bytes", "bytes allocated per QoS 0 message"),
    ("qos1_bytes", "per QoS 1 message"),
    ("qos2_bytes", "per QoS 2 message"),
    ("received_bytes", "per message received"),
    ("idle_bytes", "per idle poll"),
    ("import_held", "bytes of heap held after import"),
    ("connect_held", "after connect"),
    ("wire_bytes", "bytes on the wire beside a QoS 0 payload"),
    ("writes", "socket writes per QoS 0 message"),
)
GROWING = {
    "subscriptions": "subscriptions, µs per message received",
    "subscriptions_by_topic": "the same without subscription identifiers",
    "topics": "topics that have aliases, µs per QoS 0 message",
    "topics_8_aliases": "the same with eight aliases",
    "inflight": "in flight, µs per QoS 1 message and its PUBACK",
}
POLICIES = {
    "umqtt5": "umqtt5: the busiest topics",
    "least_recently_used": "least recently used",
    "rotation": "in turn",
}
_NOTES = {True: "met", False: "not met", None: "not compared"}


def _figure(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    if key.endswith("_per_s") and value >= 1000:
        return f"{value / 1000:,.1f}k"
    return f"{value:,.0f}"


def _tables(results: dict[str, Any]) -> list[tuple[list[str], list[list[str]]]]:
    """Each a head and rows."""
    clients = results["clients"]
    rows = [[what, *(_figure(key, c[key]) for c in clients.values())] for key, what in MEASURED]
    steps = ["1", "10", "100"]
    growing = [[GROWING[name], *(f"{per[i]:.1f}" for i in steps)] for name, per in results["scaling"].items()]
    saved = results["aliases"]
    policies = [[POLICIES[p], *(f"{saved[t][p]:.1f} %" for t in ("round_robin", "zipf"))] for p in POLICIES]
    return [
        (["", *clients], rows),
        (["umqtt5 with", *steps], growing),
        (["saved by eight aliases for a hundred topics", "all in turn", "by Zipf's law"], policies),
        (["wanted", "reached", ""], [[bar.what, bar.reached, _NOTES[bar.met]] for bar in bars(results)]),
    ]


def show(results: dict[str, Any], console: Console) -> None:
    """Print them for people."""
    for head, rows in _tables(results):
        table = Table(*head)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            style = {"met": "green", "not met": "red"}.get(row[-1])
            table.add_row(*row, style=style)
        console.print(table)
    for name, why in results["skipped"].items():
        console.print(f"{name} is left out: {why}", highlight=False, markup=False)


def markdown(results: dict[str, Any]) -> str:
    """The same as Markdown."""
    parts = ["\n".join(_lines(head, rows)) for head, rows in _tables(results)]
    parts += [f"{name} is left out: {why}" for name, why in results["skipped"].items()]
    return "\n\n".join(parts) + "\n"


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]
