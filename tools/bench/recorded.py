"""Recorded figures of clients that no package registry has, for runs without a clone of their repository."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from tools.bench.clients import BenchClient

RECORDED = Path(__file__).with_name("recorded.json")


def read_figures(client: BenchClient, path: Path = RECORDED) -> tuple[dict[str, Any], str]:
    """Return the recorded figures of a client, and a line that says when they were measured."""
    entry = json.loads(path.read_text(encoding="utf-8"))[client.name]
    note = (
        f"{client.name} {entry['version']} was measured on {entry['date']}, because no package registry has "
        f"it. In that run umqtt.simple published {entry['simple_qos0_per_s']:,.0f} QoS 0 messages/s. "
        f'To measure it now: make bench ARGS="--{client.option} FOLDER", with a clone of {client.repository}'
    )
    return entry["figures"], note


def write_figures(name: str, version: str, results: dict[str, Any], path: Path = RECORDED) -> None:
    """Record the figures of a client in these results."""
    recorded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    recorded[name] = {
        "version": version,
        "date": datetime.date.today().isoformat(),
        "simple_qos0_per_s": results["clients"]["umqtt.simple"]["qos0_per_s"],
        "figures": results["clients"][name],
    }
    path.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
