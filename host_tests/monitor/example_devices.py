"""Devices for pictures and for tests of large pages: messages and stored readings without processes."""

from __future__ import annotations

import json
import math
import random
import time
from pathlib import Path

from tools.broker import Address
from tools.monitor.history import HistoryStore
from umqtt5 import Client

_PERIOD = 10.0  # seconds between two stored readings
_PLACES = ("cellar", "greenhouse", "kitchen", "office", "roof", "workshop")
_HEALTH = {
    "uptime": 273_600,
    "heap_free": 96_320,
    "heap_used": 38_208,
    "messages": 51_904,
    "bytes": 2_204_160,
    "alias_saved": 981_004,
    "connects": 2,
    "reset": "power on",
    "drops_network": 1,
}


def device_names(count: int) -> list[str]:
    """Return the names of some devices."""
    if count <= len(_PLACES):
        return sorted(_PLACES[:count])
    return sorted(f"{_PLACES[n % len(_PLACES)]}-{n // len(_PLACES) + 1:02d}" for n in range(count))


def _readings(choice: random.Random, at: float) -> dict[str, float]:
    day = math.sin(at / 3600)
    return {
        "air/temperature": round(21.5 + 2 * day + choice.gauss(0, 0.01), 2),
        "air/humidity": round(48 - 6 * day + choice.gauss(0, 0.2), 1),
        "chip_temperature": round(41 + choice.gauss(0, 0.3), 1),
        "supply_voltage": round(3.31 + choice.gauss(0, 0.002), 3),
        "wifi_signal": round(-61 + choice.gauss(0, 1)),
    }


def store_history(
    path: Path, source: str, names: list[str], seconds: float, now: float | None = None
) -> None:
    """Store readings of the last `seconds`, with a gap in the middle."""
    now = time.time() if now is None else now
    store = HistoryStore(path, source, print)
    for number, name in enumerate(names):
        choice = random.Random(number)
        at = now - seconds
        while at < now:
            if not 0.4 < (now - at) / seconds < 0.5:
                for reading, value in _readings(choice, at + 700 * number).items():
                    store.add(at, name, reading, value)
            at += _PERIOD
        store.flush(force=True)
    store.close()


def publish_state(address: Address, prefix: str, names: list[str], with_problems: bool = True) -> None:
    """Publish status, readings, health and switches of each device. Some have problems."""
    with Client(
        address.host, address.port, client_id="example", tx=4096, outbox=262_144, inflight=100
    ) as client:
        for number, name in enumerate(names):
            choice = random.Random(-number)
            health = dict(_HEALTH, uptime=_HEALTH["uptime"] + 977 * number)
            has_problem = with_problems and number % 5 == 2
            if has_problem:
                health.update(heap_free=5_120, heap_used=129_000, memory_errors=2, reset="watchdog")
            is_offline = with_problems and number % 7 == 4
            base = f"{prefix}/{name}"
            messages = {
                "status": "offline" if is_offline else "online",
                "health": json.dumps(health),
                "switch/lamp": "ON" if number % 2 else "OFF",
                "switch/pump": "OFF",
                "valve/garden": "closed",
                **{
                    f"sensor/{reading}": str(value)
                    for reading, value in _readings(choice, time.time() + 700 * number).items()
                },
            }
            if has_problem:
                messages["sensor/chip_temperature"] = "74.5"
            messages["sensor/door"] = "ON" if number % 3 else "OFF"
            for topic, payload in messages.items():
                client.publish(f"{base}/{topic}", payload, qos=1, retain=True, wait=True)
