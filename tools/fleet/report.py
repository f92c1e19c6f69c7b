"""What a simulated fleet has shown: as a table for people, as JSON for machines."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table


def latency_percentiles(seconds: list[float]) -> dict[str, float]:
    """The median, the 99th percentile and the longest, in ms; empty where there are none."""
    if not seconds:
        return {}
    ordered = sorted(seconds)

    def percentile(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000, 1)

    return {"p50": percentile(0.5), "p99": percentile(0.99), "max": percentile(1)}


@dataclass
class Report:
    """Times in seconds, sizes in bytes."""

    broker: str
    tls: bool = False
    certificates: bool = False
    devices: int = 0
    online: int = 0
    all_online_after: float = 0.0
    seconds: float = 0.0
    messages: int = 0
    commands: int = 0
    answered: int = 0
    refused: int = 0
    latency_ms: dict[str, float] = field(default_factory=dict)
    reconnects: int = 0
    dashboard_connection_losses: int = 0
    memory: list[int] = field(default_factory=list)  # of each VM
    heap_free: list[int] = field(default_factory=list)  # of each device
    failed: dict[str, str] = field(default_factory=dict)  # device: why

    @property
    def passed(self) -> bool:
        return not self.failed and self.online == self.devices and self.answered == self.commands

    @property
    def messages_per_second(self) -> float:
        return self.messages / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON: lists of all devices become their median and their worst."""
        found = asdict(self)
        found["messages_per_second"] = round(self.messages_per_second, 1)
        found["memory"] = _median_and(self.memory, -1, "largest")
        found["heap_free"] = _median_and(self.heap_free, 0, "smallest")
        for name in ("all_online_after", "seconds"):
            found[name] = round(found[name], 1)
        return {**found, "passed": self.passed}

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=1) + "\n")

    def table(self) -> Table:
        """For people."""
        found = self.as_dict()
        how = "certificates" if self.certificates else "TLS" if self.tls else "plain TCP"
        table = Table.grid(padding=(0, 2))
        table.add_row("broker", f"{self.broker}, {how}")
        table.add_row(
            "devices", f"{self.online} of {self.devices} online, after {self.all_online_after:.1f} s"
        )
        table.add_row(
            "messages", f"{self.messages:,} in {self.seconds:.1f} s, {self.messages_per_second:.0f} a second"
        )
        if self.commands:
            refused = f", {self.refused} refused" if self.refused else ""
            table.add_row("commands", f"{self.answered} of {self.commands} answered{refused}")
        if self.latency_ms:
            table.add_row(
                "answered in", " · ".join(f"{name} {ms:g} ms" for name, ms in self.latency_ms.items())
            )
        table.add_row("reconnects", str(self.reconnects))
        if self.memory:
            table.add_row("memory per VM", _sizes(found["memory"], 1024**2, "MiB"))
        if self.heap_free:
            table.add_row("heap free", _sizes(found["heap_free"], 1024, "KiB"))
        return table


def _median_and(ordered: list[int], index: int, name: str) -> dict[str, int]:
    return {"median": ordered[len(ordered) // 2], name: ordered[index]} if ordered else {}


def _sizes(found: dict[str, int], unit: int, name: str) -> str:
    return " · ".join(f"{what} {size / unit:.1f} {name}" for what, size in found.items())
