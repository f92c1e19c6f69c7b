"""The command `measure-heap`: measures the heap of each part of a device, and writes `figures.json`.

A figure is the difference between two devices that run in the 32-bit VM, in bytes. There are two: the heap
that is held when the config has just been checked, and the heap that is held while the device runs.
`estimate` adds the figures of the parts of a config. Boards differ in the size of their own modules, so the
device without sensors, actuators and options is measured for each board.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import typer

from actuators import schema as actuator_schema
from sensors import KINDS
from tools.board import definition
from tools.console import Console
from tools.errors import UserError
from tools.heap.measure import HeldHeap, measure, prepare
from tools.heap.table import FIGURES, READING, Figures, load_figures
from tools.progress import progress_bar
from tools.vm import process

_BOARD = "esp32"  # the board with which the parts are measured
_ENTRIES = 100  # number of entries in a list whose figure is per entry
_ENTITIES = 10  # number of additional entities with which the figure per entity is measured
_JOBS = 2

Config = dict[str, Any]

# options: changes of the config, and the number of times that the figure is contained in the difference
_OPTIONS: dict[str, tuple[Config, int]] = {
    "journal": ({"journal": 8192}, 1),
    "discovery": ({"discovery": "homeassistant"}, 1),
    "tasmota": ({"tasmota": True}, 1),
    "update": ({"update": {"key": "00" * 16}}, 1),
    "backlog_reading": ({"backlog": {"keep": 50 + _ENTRIES}}, _ENTRIES),
    "backlog_on_flash": ({"backlog": {"on_flash": True}}, 1),
    "dedup_command": ({"dedup_commands": 58}, 50),
    "dedup_on_flash": ({"dedup_on_flash": True}, 1),
    "light_sleep": ({"power": {"mode": "light", "period": 86400, "awake": 3600, "linger": 60}}, 1),
    "deep_sleep": ({"power": {"mode": "deep", "period": 86400, "awake": 3600, "linger": 60}}, 1),
    "tls": ({"broker": {"host": "192.168.1.5", "tls": {"ca": "ca.pem"}}}, 1),
    "client_certificate": (
        {"broker": {"host": "192.168.1.5", "tls": {"ca": "ca.pem", "cert": "c.pem", "key": "k.pem"}}},
        1,
    ),
    "host_name": ({"broker": {"host": "broker.example.com"}}, 1),
}
_FIELDS: dict[str, Config] = {
    "dht22": {"pin": 12},
    "ds18b20": {"pin": 4},
    "bme280": {"bus": "i2c"},
    "sht3x": {"bus": "i2c"},
    "analog": {"pin": 34},
    "digital": {"pin": 16},
    "pulse": {"pin": 13},
    "battery": {"pin": 35},
}


def base_config() -> Config:
    """Return the config of a device without sensors, actuators and options."""
    return {
        "device": "greenhouse-1",
        "broker": {"host": "192.168.1.5"},
        "wifi": {"ssid": "home", "password": "a password"},
        "sensors": [],
        "actuators": [],
    }


def make_sensors(kind: str, count: int) -> list[Config]:
    """Return `count` sensors of a kind. Sensors with a pin measure at the same pin if the check allows it."""
    kind = "chip_temperature" if kind == READING else kind
    found = [{"kind": kind, "name": f"{kind[:10]}-{n}", **_FIELDS.get(kind, {})} for n in range(count)]
    if kind in ("dht22", "digital", "pulse"):
        for n, sensor in enumerate(found):
            sensor["pin"] = int(sensor["pin"]) + n
    if kind == "ds18b20":
        for n, sensor in enumerate(found):
            sensor["address"] = f"28{n:014x}"
    return found


def make_actuators(*kinds: str) -> list[Config]:
    """Return an actuator of each kind."""
    pins = ("lamp", "relay")
    return [{"kind": kind, "name": f"{kind}-{n}", "pin": pins[n]} for n, kind in enumerate(kinds)]


def _list_devices() -> dict[str, tuple[str, Config]]:
    """Return the devices to measure: (board, config) by name."""
    reference = {**base_config(), "sensors": make_sensors(READING, 1)}
    devices = {f"board {key}": (key, base_config()) for key in _boards()}
    devices["reference"] = (_BOARD, reference)
    devices["readings"] = (_BOARD, {**base_config(), "sensors": make_sensors(READING, 4)})
    for kind in _sensor_kinds():
        for count in (1, 3):
            sensors = make_sensors(READING, 1) + make_sensors(kind, count)
            devices[f"sensor {kind} {count}"] = (_BOARD, {**reference, "sensors": sensors})
    for kind in actuator_schema.FIELDS:
        for count in (1, 2):
            config = {**base_config(), "actuators": make_actuators(*[kind] * count)}
            devices[f"actuator {kind} {count}"] = (_BOARD, config)
    config = {**base_config(), "actuators": make_actuators("switch", "light")}
    devices["two kinds of actuators"] = (_BOARD, config)
    for name, (changes, _) in _OPTIONS.items():
        devices[f"option {name}"] = (_BOARD, {**reference, **changes})
    for name in ("discovery", "tasmota"):
        more = {
            "sensors": make_sensors(READING, _ENTITIES - 1),
            "actuators": make_actuators("switch", "switch"),
        }
        devices[f"{name} without"] = (_BOARD, {**reference, **more})
        devices[f"{name} of entities"] = (_BOARD, {**reference, **more, **_OPTIONS[name][0]})
    return devices


def _boards() -> list[str]:
    return [key for key in definition.list_boards() if definition.load_board(key).memory]


def _sensor_kinds() -> list[str]:
    return [kind for kind in KINDS.split() if kind != "dht11"]  # `dht22` has the same driver


def measure_figures(console: Console) -> Figures:
    """Measure all figures; this takes minutes. Raises UserError without the 32-bit VM."""
    if reason := process.install_vm_32():
        raise UserError(f"the 32-bit VM is not installed: {reason}")
    devices = _list_devices()
    held: dict[str, HeldHeap] = {}
    with console.status("compiling"):
        for board in {board for board, _ in devices.values()}:
            prepare(board)
    with progress_bar(console) as progress, ThreadPoolExecutor(_JOBS) as pool:
        found = pool.map(lambda device: measure(*device), devices.values())
        for name, result in progress.track(zip(devices, found), total=len(devices), description="measuring"):
            held[name] = result
    at_check = _compute_figures({name: result.check for name, result in held.items()})
    running = _compute_figures({name: result.run for name, result in held.items()})
    return {
        group: {name: [round(value), round(running[group][name])] for name, value in part.items()}
        for group, part in at_check.items()
    }


def _compute_figures(held: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Return the figure of each part from the heap of all devices."""
    base, reference = held[f"board {_BOARD}"], held["reference"]
    reading = (held["readings"] - reference) / 3
    figures: dict[str, dict[str, float]] = {
        "boards": {key: held[f"board {key}"] for key in _boards()},
        "sensor": {"first": reference - base - reading},
        "sensor_module": {READING: 0},
        "each_sensor": {READING: reading},
        "actuator": {},
        "actuator_module": {},
        "each_actuator": {},
        "option": {},
    }
    for kind in _sensor_kinds():
        one, three = held[f"sensor {kind} 1"], held[f"sensor {kind} 3"]
        figures["each_sensor"][kind] = each = (three - one) / 2
        figures["sensor_module"][kind] = one - reference - each
    first = held["actuator switch 1"] + held["actuator light 1"] - base - held["two kinds of actuators"]
    figures["actuator"]["first"] = first
    for kind in actuator_schema.FIELDS:
        one, two = held[f"actuator {kind} 1"], held[f"actuator {kind} 2"]
        figures["each_actuator"][kind] = two - one
        figures["actuator_module"][kind] = one - base - first - (two - one)
    for name, (_, times) in _OPTIONS.items():
        figures["option"][name] = (held[f"option {name}"] - reference) / times
    for name in ("discovery", "tasmota"):
        more = held[f"{name} of entities"] - held[f"{name} without"] - figures["option"][name]
        figures["option"][f"{name}_entity"] = more / _ENTITIES
    return figures


def main(
    check: Annotated[bool, typer.Option("--check", help="write nothing, print what has changed")] = False,
) -> None:
    """Measure the heap of each part of a device, and write the figures that the config check uses."""
    console = Console(soft_wrap=True)
    figures = measure_figures(console)
    before = load_figures() if FIGURES.exists() else {}
    for group, part in figures.items():
        for name, value in part.items():
            if (old := before.get(group, {}).get(name)) != value:
                typer.echo(f"{group}.{name}: {old} -> {value}")
    if not check:
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
