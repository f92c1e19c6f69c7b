"""What umqtt5 has to reach, beside what it reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tools.bench.clients import OURS, SIMPLE
from tools.bench.heap import TARGET_KB

ROUND_TRIPS = 10000  # QoS 1, one at a time, a second
WINDOW = 30000  # QoS 1, twenty in flight, a second
OVERHEAD = 8  # bytes beside the payload of an aliased QoS 0 message
MAX_SCALING_RATIO = 1.25  # cost at 100 over that at 1
NO_WORSE = 1.0
WORDS = {"subscriptions": "subscriptions", "topics": "topics", "inflight": "in flight"}
ALIASED = 1.2  # times the QoS 0 rate of umqtt.simple


@dataclass(frozen=True)
class Target:
    """One of them; `met` is None where a peer is missing and there is nothing to compare with."""

    name: str
    measured: str
    is_met: bool | None
    machine_independent: bool = False  # does not depend on the machine


def _ratio(what: str, ours: float, other: float | None, least: float) -> Target:
    if not other:
        return Target(what, f"{SIMPLE} is missing", None)
    return Target(f"{what}, at least {least:g}", f"{ours / other:.2f}", ours / other >= least)


def evaluate_targets(results: dict[str, Any]) -> list[Target]:
    """All of them, from what goes into build/bench.json."""
    ours = results["clients"][OURS]
    simple = results["clients"].get(SIMPLE, {})
    found = [
        _ratio(
            f"QoS 0 by alias / QoS 0 of {SIMPLE}",
            ours["qos0_aliased_per_s"],
            simple.get("qos0_per_s"),
            ALIASED,
        ),
        _ratio(f"received / of {SIMPLE}", ours["received_per_s"], simple.get("received_per_s"), NO_WORSE),
    ]
    for key, what, least in (
        ("qos1_per_s", "QoS 1 round trips a second", ROUND_TRIPS),
        ("qos1_window_per_s", "QoS 1 a second, twenty in flight", WINDOW),
    ):
        found.append(Target(f"{what}, at least {least:,}", f"{ours[key]:,.0f}", ours[key] >= least))
    for name, per in results["scaling"].items():
        if name in WORDS:
            ratio = per["100"] / per["1"]
            found.append(
                Target(
                    f"cost with 100 {WORDS[name]} / with 1, at most {MAX_SCALING_RATIO}",
                    f"{ratio:.2f}",
                    ratio <= MAX_SCALING_RATIO,
                )
            )
    bytes_ = [ours[f"{name}_bytes"] for name in ("qos0", "qos1", "qos2", "received", "idle")]
    smallest = results["heap"]["smallest_kb"]
    return [
        *found,
        Target("bytes allocated per message and idle poll: 0", str(max(bytes_)), not any(bytes_), True),
        Target("socket writes per publish: 1", f"{ours['writes']:g}", ours["writes"] == 1, True),
        Target(
            f"bytes round the payload by alias: {OVERHEAD}",
            f"{ours['wire_bytes']:g}",
            ours["wire_bytes"] == OVERHEAD,
            True,
        ),
        Target(
            f"import, connect and 100 publishes in a heap of {TARGET_KB} KB",
            f"{smallest} KB needed" if smallest else "fails in 128 KB",
            bool(smallest and smallest <= TARGET_KB),
            True,
        ),
    ]
