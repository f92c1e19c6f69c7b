"""Health metrics in words."""

from __future__ import annotations

import json

from host_tests.monitor.test_hub import HOSTILE
from tools.monitor.health_text import describe_health

_GOOD = {
    "uptime": 7325,
    "heap_free": 96320,
    "heap_used": 38208,
    "heap_free_min": 80000,
    "messages": 51904,
    "bytes": 2204160,
    "alias_saved": 981004,
    "connects": 2,
    "stall": 12,
    "reset": "power on",
    "drops_network": 1,
    "drops_ours": 4,
}


def test_a_device_without_problems_is_healthy() -> None:
    health = describe_health(_GOOD)
    assert health.problems == () and health.summary == "healthy"
    assert health.facts == (
        "up for 2 h 2 min",
        "94.1 KiB of memory free, 72 %",
        "sent 51,904 messages, 2.1 MiB",
        "topic aliases saved 958 KiB",
        "connected 2 times",
        "lost connections: network errors 1",
        "started after power on",
    )


def test_each_problem_is_named() -> None:
    problems = describe_health(
        _GOOD
        | {
            "heap_free": 4096,
            "heap_used": 130000,
            "memory_errors": 1,
            "missing": "journal discovery",
            "dropped": 3,
            "reset": "watchdog",
            "stall": 6100,
            "safe_mode": "4 crashes: ValueError",
        }
    ).problems
    assert problems == (
        "safe mode: 4 crashes: ValueError",
        "memory is low: 4 KiB free",
        "memory ran out once",
        "not enough memory for journal discovery",
        "messages of 3 topics are too large for the broker",
        "restarted by the watchdog",
        "was busy for 6.1 s",
    )


def test_without_metrics_nothing_is_claimed() -> None:
    assert describe_health({}).summary == ""
    assert describe_health({"something": "else"}).summary == ""


def test_metrics_of_wrong_types_are_ignored() -> None:
    wrong: list[object] = [None, [], {}, "many", True, -1e14, 1e14, 0]
    for key in _GOOD:
        for value in wrong:
            describe_health({**_GOOD, key: value})
    for _, payload in HOSTILE:
        try:
            metrics = json.loads(payload)
        except (ValueError, RecursionError):
            continue
        if isinstance(metrics, dict):
            describe_health(metrics)
