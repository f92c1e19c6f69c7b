"""The results as tables: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.bench import journal
from tools.bench.targets import evaluate_targets

MEASURED = (
    ("qos0_per_s", "QoS 0 /s"),
    ("qos0_aliased_per_s", "QoS 0 by alias /s"),
    ("qos1_per_s", "QoS 1 round trips /s"),
    ("qos1_window_per_s", "QoS 1, 20 in flight /s"),
    ("received_per_s", "received /s"),
    ("qos0_bytes", "allocated, QoS 0, B"),
    ("qos1_bytes", "allocated, QoS 1, B"),
    ("qos2_bytes", "allocated, QoS 2, B"),
    ("received_bytes", "allocated, received, B"),
    ("idle_bytes", "allocated, idle poll, B"),
    ("import_held", "held after import, B"),
    ("connect_held", "held after connect, B"),
    ("wire_bytes", "wire overhead, QoS 0, B"),
    ("writes", "writes per QoS 0"),
)
GROWING = {
    "subscriptions": "subscriptions: µs per message received",
    "subscriptions_by_topic": "subscriptions, from a broker without identifiers",
    "topics": "topics, each with an alias: µs per QoS 0 message",
    "topics_8_aliases": "topics over eight aliases",
    "inflight": "messages in flight: µs per QoS 1 message and its PUBACK",
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
    growing = [
        [what, *(f"{results['scaling'][name][i]:.1f}" for i in steps)] for name, what in GROWING.items()
    ]
    saved = results["aliases"]
    policies = [[POLICIES[p], *(f"{saved[t][p]:.1f} %" for t in ("round_robin", "zipf"))] for p in POLICIES]
    return [
        (["", *clients], rows),
        (["umqtt5 with", *steps], growing),
        (["saved by eight aliases for a hundred topics", "all in turn", "by Zipf's law"], policies),
        _journal(results),
        (
            ["wanted", "reached", ""],
            [[one.name, one.measured, _NOTES[one.is_met]] for one in evaluate_targets(results)],
        ),
    ]


def _journal(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    found = results["journal"]
    rows = [
        [what, *(f"{found[kind][key]:,g}" for kind in journal.KINDS)]
        for key, what in journal.MEASURED.items()
    ]
    return ["with a journal", *journal.KINDS.values()], rows


def journal_markdown(results: dict[str, Any]) -> str:
    """The table of the journal alone."""
    return "\n".join(_lines(*_journal(results))) + "\n"


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
