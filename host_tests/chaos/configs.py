"""Random valid configs of a device, and the boards on which they run."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from host_tests.chaos.network import BROKER_ADDRESS, BROKER_NAME, NTP_NAME

DEVICE = "dut"
BASE = f"umqtt5/{DEVICE}"
KEY = "0f" * 32


@dataclass(frozen=True)
class Board:
    """A board: pins by their use."""

    key: str
    is_rp2: bool
    outputs: dict[str, str]  # pin as `machine` reports it, by the name of the output
    analog: int
    digital: int = 4
    pulse: int = 5
    dht: int = 13


BOARDS = (
    Board("esp32", False, {"lamp": "2", "relay": "26"}, 33),
    Board("rpi_pico_w", True, {"lamp": "LED", "relay": "15"}, 27, 6, 7, 13),
)


@dataclass
class Setup:
    """A board with its config."""

    board: Board
    filesystem: str
    config: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        config = self.config
        parts = [self.board.key, self.filesystem, config.get("power", {}).get("mode", "on")]
        parts += [f"{item['kind']}:{item.get('safe', '-')}" for item in config["actuators"]]
        parts += [item["kind"] for item in config["sensors"]]
        parts += [
            key for key in ("journal", "backlog", "discovery", "dedup_on_flash", "tasmota") if config.get(key)
        ]
        return " ".join(parts)


def make_setup(rng: random.Random, is_long: bool) -> Setup:
    """Return a random setup; `is_long`: without sensors that are polled often."""
    board = BOARDS[0] if rng.random() < 0.65 else BOARDS[1]
    setup = Setup(board, "littlefs" if rng.random() < 0.85 else "fat")
    mode = rng.choices(("on", "light", "deep"), (16, 2, 2))[0]
    config: dict[str, Any] = {
        "device": DEVICE,
        "wifi": {"ssid": "home", "password": "secret-password"},
        "broker": {
            "host": rng.choice((BROKER_ADDRESS, BROKER_NAME)),
            "keep_alive": rng.choice((15, 30, 60, 120)),
            "will_delay": rng.choice((0, 0, 20)),
        },
        "ntp": rng.choice(([NTP_NAME], [NTP_NAME, "time2.lan"], [])),
        "health": rng.choice((60, 120, 300)),
        "sensors": _make_sensors(rng, board, is_long or mode != "on"),
        "actuators": _make_actuators(rng, board),
        "update": {"key": KEY, "confirm": rng.choice((5, 30))},
        "dedup_on_flash": rng.random() < 0.6,
        "dedup_commands": rng.choice((8, 16)),
        "reset_after": rng.choice((600, 3600, 3600, 0)),
        "power": {"mode": mode},
    }
    if rng.random() < 0.3:
        config["broker"].update(user="pump", password="word")
    if mode != "on":
        config["power"].update(period=rng.choice((300, 600)), awake=rng.choice((20, 40)))
    extra = rng.choice((None, "journal", "backlog", "discovery", "tasmota", "journal"))
    if extra == "journal" and mode == "on":
        config["journal"] = rng.choice((8192, 16384))
    elif extra == "backlog":
        config["backlog"] = {
            "keep": rng.choice((20, 60)),
            "policy": rng.choice(("oldest", "thin", "newest")),
            "on_flash": rng.random() < 0.5,
        }
    elif extra == "discovery":
        config["discovery"] = "homeassistant"
    elif extra == "tasmota":
        config["tasmota"] = True
    setup.config = config
    return setup


def _make_sensors(rng: random.Random, board: Board, is_long: bool) -> list[dict[str, Any]]:
    sensors: list[dict[str, Any]] = [
        {"kind": "analog", "name": "level", "pin": board.analog, "period": rng.choice((20, 60)), "qos": 1,
         "precision": 6, "samples": 1},
    ]  # fmt: skip
    others: list[dict[str, Any]] = [
        {"kind": "chip_temperature", "period": 60},
        {"kind": "heap_free", "period": 300},
        {
            "kind": "pulse",
            "name": "water",
            "pin": board.pulse,
            "period": 60,
            "debounce": rng.choice((0, 0.02)),
        },
        {"kind": "dht22", "pin": board.dht, "period": 60},
        {"kind": "sht3x", "period": 60, "retain": True},
    ]
    sensors += rng.sample(others, rng.randint(0, 2))
    if not is_long and rng.random() < 0.25:
        sensors.append({"kind": "digital", "name": "door", "pin": board.digital})
    return sensors


def _make_actuators(rng: random.Random, board: Board) -> list[dict[str, Any]]:
    made = []
    for name in rng.sample(["lamp", "relay"], rng.randint(1, 2)):
        kinds = ["switch", "switch", "valve"]
        if not (board.is_rp2 and name == "lamp"):
            kinds += ["light", "servo", "pixels"]
        made.append(_make_actuator(rng, rng.choice(kinds), name))
    is_switch = [item["kind"] in ("switch", "valve") for item in made]
    if len(made) == 2 and all(is_switch) and rng.random() < 0.5:
        for item, other in zip(made, reversed(made)):
            item["interlock"] = [other["name"]]
            if item.get("safe") == "ON":
                item["safe"] = "OFF"
    return made


def _make_actuator(rng: random.Random, kind: str, pin: str) -> dict[str, Any]:
    item: dict[str, Any] = {"kind": kind, "name": pin, "pin": pin, "safe_after": rng.choice((20, 60, 300))}
    if kind == "servo":
        item.update(safe=rng.choice(("OFF", "HOLD")), low=0, high=180, rest=rng.choice((0, 90)))
        item["release"] = rng.choice((1, 5))
        return item
    item["safe"] = rng.choices(("OFF", "ON", "HOLD"), (5, 1, 3))[0]
    if kind in ("switch", "valve"):
        item["inverted"] = rng.random() < 0.4
    if kind == "light":
        item["fade"] = rng.choice((0, 0.3))
    if item["safe"] != "ON":
        if rng.random() < 0.7:
            item["max_on"] = rng.choice((10, 60, 600))
        if rng.random() < 0.5:
            item["min_off"] = rng.choice((5, 30, 120))
    return item
