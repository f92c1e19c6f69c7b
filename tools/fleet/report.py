"""Results of a load test: latency percentiles, a table for the terminal, JSON for other programs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from tools.text_files import write_text


def latency_percentiles(seconds: list[float]) -> dict[str, float]:
    """Return p50, p99 and max in ms, by the nearest-rank method; empty if `seconds` is empty."""
    if not seconds:
        return {}
    ordered = sorted(seconds)

    def percentile(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000, 1)

    return {"p50": percentile(0.5), "p99": percentile(0.99), "max": percentile(1)}


@dataclass
class Report:
    """Results of a load test. Times are in seconds, sizes in bytes."""

    broker: str  # the --broker option, without user and password
    tls: bool = False
    certificates: bool = False  # whether devices use client certificates
    devices: int = 0  # number of devices
    online: int = 0  # number of devices online at the end
    all_online_after: float = 0.0  # duration of the start phase
    seconds: float = 0.0  # duration of the measurement
    messages: int = 0  # number of messages received during the measurement
    commands: int = 0  # number of commands sent
    answered: int = 0  # number of answers to commands
    refused: int = 0  # number of commands that a device refused
    latency_ms: dict[str, float] = field(default_factory=dict)
    reconnects: int = 0  # number of reconnects of all devices
    dashboard_connection_losses: int = 0  # number of times that the load client lost its connection
    memory: list[int] = field(default_factory=list)  # memory of each VM, sorted
    heap_free: list[int] = field(default_factory=list)  # free heap of each device, sorted
    failed: dict[str, str] = field(default_factory=dict)  # device: reason

    @property
    def passed(self) -> bool:
        """Whether no device failed, all are online, and all commands were answered."""
        return not self.failed and self.online == self.devices and self.answered == self.commands

    @property
    def messages_per_second(self) -> float:
        """Average rate of messages during the measurement."""
        return self.messages / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the results for JSON. Lists are reduced to their median and their worst value."""
        results = asdict(self)
        results["messages_per_second"] = round(self.messages_per_second, 1)
        results["memory"] = _median_and(self.memory, -1, "largest")
        results["heap_free"] = _median_and(self.heap_free, 0, "smallest")
        for name in ("all_online_after", "seconds"):
            results[name] = round(results[name], 1)
        return {**results, "passed": self.passed}

    def write(self, path: Path) -> None:
        """Write the results as JSON."""
        write_text(path, json.dumps(self.as_dict(), indent=1) + "\n")

    def table(self) -> Table:
        """Return the results as a table for the terminal."""
        results = self.as_dict()
        security = "certificates" if self.certificates else "TLS" if self.tls else "plain TCP"
        table = Table.grid(padding=(0, 2))
        table.add_row("broker", f"{self.broker}, {security}")
        table.add_row(
            "devices", f"{self.online} of {self.devices} online, after {self.all_online_after:.1f} s"
        )
        table.add_row(
            "messages",
            f"{self.messages:,} in {self.seconds:.1f} s, {self.messages_per_second:.0f} per second",
        )
        if self.commands:
            refused = f", {self.refused} refused" if self.refused else ""
            table.add_row("commands", f"{self.answered} of {self.commands} answered{refused}")
        if self.latency_ms:
            table.add_row("latency", " · ".join(f"{name} {ms:g} ms" for name, ms in self.latency_ms.items()))
        table.add_row("reconnects", str(self.reconnects))
        if self.memory:
            table.add_row("memory per VM", _format_sizes(results["memory"], 1024**2, "MiB"))
        if self.heap_free:
            table.add_row("heap free", _format_sizes(results["heap_free"], 1024, "KiB"))
        return table


def _median_and(ordered: list[int], index: int, name: str) -> dict[str, int]:
    """Return the median of a sorted list, and its value at `index` under the key `name`; {} if empty."""
    return {"median": ordered[len(ordered) // 2], name: ordered[index]} if ordered else {}


def _format_sizes(sizes: dict[str, int], divisor: int, unit: str) -> str:
    return " · ".join(f"{label} {size / divisor:.1f} {unit}" for label, size in sizes.items())
