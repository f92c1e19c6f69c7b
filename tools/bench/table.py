"""Tables of the benchmark results, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from tools.bench import journal
from tools.bench.targets import evaluate_targets
from tools.console import Console

# key of a figure, its label
MEASURED = (
    ("qos0_per_s", "QoS 0, messages/s"),
    ("qos0_aliased_per_s", "QoS 0 with topic alias, messages/s"),
    ("qos1_per_s", "QoS 1, one at a time, messages/s"),
    ("qos1_window_per_s", "QoS 1, 20 in flight, messages/s"),
    ("received_per_s", "received, messages/s"),
    ("qos0_bytes", "heap allocated per QoS 0 message, B"),
    ("qos1_bytes", "heap allocated per QoS 1 message, B"),
    ("qos2_bytes", "heap allocated per QoS 2 message, B"),
    ("received_bytes", "heap allocated per received message, B"),
    ("idle_bytes", "heap allocated per idle poll, B"),
    ("import_held", "heap in use after import, B"),
    ("connect_held", "heap in use after connect, B"),
    ("wire_bytes", "bytes around the payload, QoS 0, alias if supported"),
    ("writes", "socket writes per QoS 0 message"),
)
# key of a figure: its label
SCALING = {
    "subscriptions": "subscriptions, per received message",
    "subscriptions_by_topic": "subscriptions, broker without Subscription Identifiers",
    "topics": "topics with an alias each, per QoS 0 message",
    "topics_8_aliases": "topics with eight aliases, per QoS 0 message",
    "inflight": "messages in flight, per QoS 1 message and its PUBACK",
}
# alias policy: its label
POLICIES = {
    "umqtt5": "umqtt5: most frequent topics",
    "least_recently_used": "least recently used (LRU)",
    "rotation": "first in, first out (FIFO)",
}
_TARGET_RESULTS = {True: "met", False: "not met", None: "not compared"}


def _format_figure(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    if key.endswith("_per_s") and value >= 1000:
        return f"{value / 1000:,.1f}k"
    return f"{value:,.0f}"


def _tables(results: dict[str, Any]) -> list[tuple[list[str], list[list[str]]]]:
    """Return all tables, each as its header and rows."""
    clients = results["clients"]
    rows = [[label, *(_format_figure(key, c[key]) for c in clients.values())] for key, label in MEASURED]
    steps = ["1", "10", "100"]
    scaling = [
        [label, *(f"{results['scaling'][key][n]:.1f}" for n in steps)] for key, label in SCALING.items()
    ]
    saved = results["aliases"]
    policies = [[POLICIES[p], *(f"{saved[t][p]:.1f} %" for t in ("round_robin", "zipf"))] for p in POLICIES]
    return [
        (["", *(f"{name} \\*" if name in results["recorded"] else name for name in clients)], rows),
        (["umqtt5, time per message in µs with", *steps], scaling),
        (["bytes saved, 100 topics, eight aliases", "published in turn", "by Zipf's law"], policies),
        _journal_table(results),
        *_target_tables(results),
    ]


def _target_tables(results: dict[str, Any]) -> list[tuple[list[str], list[list[str]]]]:
    """Return the tables of the requirements and of the goals."""
    targets = evaluate_targets(results)
    return [
        (
            [kind, "measured", ""],
            [
                [one.name, one.measured, _TARGET_RESULTS[one.is_met]]
                for one in targets
                if one.is_required == is_required
            ],
        )
        for kind, is_required in (("requirement", True), ("goal", False))
    ]


def _journal_table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    figures = results["journal"]
    rows = [
        [label, *(f"{figures[kind][key]:,g}" for kind in journal.KINDS)]
        for key, label in journal.MEASURED.items()
    ]
    return ["umqtt5 with a journal", *journal.KINDS.values()], rows


def journal_markdown(results: dict[str, Any]) -> str:
    """Return the table of the journal as Markdown."""
    return "\n".join(_markdown_lines(*_journal_table(results))) + "\n"


def show(results: dict[str, Any], console: Console) -> None:
    """Print all tables on the terminal."""
    for head, rows in _tables(results):
        table = Table(*(title.replace("\\*", "*") for title in head))
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            style = {"met": "green", "not met": "red"}.get(row[-1])
            table.add_row(*row, style=style)
        console.print(table)
    for line in _notes(results):
        console.print(line.replace("\\*", "*"))


def markdown(results: dict[str, Any]) -> str:
    """Return all tables as Markdown."""
    parts = ["\n".join(_markdown_lines(head, rows)) for head, rows in _tables(results)]
    parts += _notes(results)
    return "\n\n".join(parts) + "\n"


def _notes(results: dict[str, Any]) -> list[str]:
    """Return the lines below the tables."""
    return [
        _versions(results),
        *(f"\\* {note}." for note in results["recorded"].values()),
        *_skipped(results),
    ]


def _versions(results: dict[str, Any]) -> str:
    return "Versions: " + (", ".join(results["versions"].values()) or "no other clients") + "."


def _skipped(results: dict[str, Any]) -> list[str]:
    return [f"{name} was not measured: {reason}" for name, reason in results["skipped"].items()]


def _markdown_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]
