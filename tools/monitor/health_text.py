"""The health metrics of a device in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.monitor.quantities import format_duration, format_number

_LOW_HEAP = 0.08  # part of the heap: with less, an allocation of a usual size can fail
_LONG_STALL = 5000  # ms; the watchdog of most boards resets them after 8 s
_RESTARTS = {
    "power on": "started after power on",
    "reset": "started after a reset",
    "watchdog": "restarted by the watchdog",
    "deep sleep": "woke from deep sleep",
    "soft reset": "started after a soft reset",
}
_CAUSES = {
    "refused": "refused by the broker",
    "broker": "ended by the broker",
    "protocol": "protocol errors",
    "timeout": "timeouts",
    "network": "network errors",
}


@dataclass(frozen=True)
class HealthText:
    """The health of a device: `problems` need attention, `facts` do not."""

    problems: tuple[str, ...]
    facts: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The problems, or `healthy`; empty if there are no metrics."""
        return "; ".join(self.problems) or ("healthy" if self.facts else "")


def _number(metrics: Mapping[str, Any], key: str) -> float:
    value = metrics.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def _bytes(count: float) -> str:
    for size, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= size:
            return f"{count / size:,.3g} {unit}" if count < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{format_number(count)} bytes"


def _times(count: float) -> str:
    return "once" if count == 1 else f"{format_number(count)} times"


def _find_problems(metrics: Mapping[str, Any]) -> list[str]:
    problems = []
    if "safe_mode" in metrics:
        problems.append(f"safe mode: {metrics['safe_mode']}")
    free, heap = _number(metrics, "heap_free"), _number(metrics, "heap_free") + _number(metrics, "heap_used")
    if heap and "heap_free" in metrics and free < _LOW_HEAP * heap:
        problems.append(f"memory is low: {_bytes(free)} free")
    if _number(metrics, "memory_errors"):
        problems.append(f"memory ran out {_times(_number(metrics, 'memory_errors'))}")
    if metrics.get("missing"):
        problems.append(f"not enough memory for {metrics['missing']}")
    if _number(metrics, "dropped"):
        count = _number(metrics, "dropped")
        topics = "1 topic" if count == 1 else f"{format_number(count)} topics"
        problems.append(f"messages of {topics} are too large for the broker")
    if metrics.get("reset") == "watchdog":
        problems.append(_RESTARTS["watchdog"])
    if _number(metrics, "stall") >= _LONG_STALL:
        problems.append(f"was busy for {_number(metrics, 'stall') / 1000:.1f} s")
    return problems


def _find_facts(metrics: Mapping[str, Any]) -> list[str]:
    facts = []
    if "uptime" in metrics:
        facts.append(f"up for {format_duration(_number(metrics, 'uptime'))}")
    free, used = _number(metrics, "heap_free"), _number(metrics, "heap_used")
    if free:
        share = f", {100 * free / (free + used):.0f} %" if used else ""
        facts.append(f"{_bytes(free)} of memory free{share}")
    if "messages" in metrics:
        count = format_number(_number(metrics, "messages"))
        facts.append(f"sent {count} messages, {_bytes(_number(metrics, 'bytes'))}")
    if _number(metrics, "alias_saved"):
        facts.append(f"topic aliases saved {_bytes(_number(metrics, 'alias_saved'))}")
    if _number(metrics, "connects"):
        facts.append(f"connected {_times(_number(metrics, 'connects'))}")
    lost = [
        f"{text} {format_number(n)}"
        for key, text in _CAUSES.items()
        if (n := _number(metrics, f"drops_{key}"))
    ]
    if lost:
        facts.append("lost connections: " + ", ".join(lost))
    reset = str(metrics.get("reset"))
    if reset in _RESTARTS and reset != "watchdog":
        facts.append(_RESTARTS[reset])
    return facts


def describe_health(metrics: Mapping[str, Any]) -> HealthText:
    """Return the metrics in words. Metrics of unknown names and of wrong types are left out."""
    return HealthText(tuple(_find_problems(metrics)), tuple(_find_facts(metrics)))
