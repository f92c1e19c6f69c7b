"""Levels of the outputs from the first moment on simulated boards: start, crash, watchdog, invalid config."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host_tests.simulated_hardware import SimulatedChip
from tools.board import definition
from tools.bundle import image

RELAY = {"esp32": 26, "rpi_pico_w": 15}
BASE = {
    "device": "dut",
    "broker": {"host": "127.0.0.1", "port": 1},
    "wifi": {"ssid": "home", "password": "secret-word"},
    "ntp": [],
    "watchdog": False,
}


def chip(key: str, folder: Path, config: object, code: str = "import boot, main") -> SimulatedChip:
    text = config if isinstance(config, str) else json.dumps(config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(text)
    return SimulatedChip(
        folder, ["-c", code], path=[image.build_image(key)], chip=definition.load_board(key).chip
    )


@pytest.mark.parametrize("key", list(RELAY))
@pytest.mark.parametrize(
    ("fields", "level"),
    [({"inverted": True}, "1"), ({"inverted": True, "safe": "OFF"}, "1"), ({"safe": "ON"}, "1"), ({}, "0")],
)
def test_an_output_has_its_level_from_the_first_drive(
    key: str, fields: dict[str, object], level: str, tmp_path: Path
) -> None:
    config = {**BASE, "actuators": [{"name": "pump", "pin": "relay", **fields}]}
    with chip(key, tmp_path, config) as running:
        running.wait_until(lambda: running.io[f"driven-{RELAY[key]}"])
        running.wait_for_line("no connection to", 40) if key == "esp32" else None
        assert running.io[f"driven-{RELAY[key]}"] == level


@pytest.mark.parametrize("key", list(RELAY))
def test_an_invalid_config_leaves_the_outputs_safe(key: str, tmp_path: Path) -> None:
    text = json.dumps({**BASE, "actuators": [{"name": "pump", "pin": "relay", "inverted": True}]})
    for n, wrong in enumerate((text[:-1], text.replace('"host"', '"hots"'))):
        with chip(key, tmp_path / str(n), wrong) as running:
            running.wait_for_line("config.json: ")
            running.wait()
            assert running.io[f"driven-{RELAY[key]}"] == "1"


def test_an_esp32_drives_its_outputs_over_a_restart(tmp_path: Path) -> None:
    code = """
import pins
if pins.reset_cause() == "power on":
    print("before", pins.driven_level("relay"))
    pins.output("relay", 1)
    pins.reset()
print("after", pins.driven_level("relay"), pins.driven_level("lamp"))
"""
    for key, after in (("esp32", "after 1 None"), ("rpi_pico_w", "after None None")):
        with chip(key, tmp_path / key, BASE, code) as running:
            running.wait()
            assert list(running.lines) == ["before None", after]
