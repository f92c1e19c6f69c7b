"""The estimate of the heap that a config needs agrees with devices that run in the MicroPython VMs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from actuators import schema as actuator_schema
from app.config import config as app_config
from sensors import KINDS
from tools.board import definition
from tools.device_config.config import default_config, format_config, validate
from tools.errors import UserError
from tools.heap import estimate as heap_estimate
from tools.heap import figures, measure, table
from tools.vm import process

BOARD = "esp32"
# the estimate may differ by this part from what a device holds; if it differs more, run `measure-heap`
TOLERANCE = 0.04
# parts of the needed heap: with so much more a device runs completely, with so much less it does not
MORE, LESS = 0.05, 0.12
RATIO_64 = 1.3  # of the heap of a device in the 64-bit VM to that in the 32-bit VM
LARGE_HEAP = 700_000  # bytes

Config = dict[str, Any]


def config(**changes: Any) -> Config:
    return {**figures.base_config(), **changes}


def readings(count: int) -> list[Config]:
    return figures.make_sensors(table.READING, count)


CONFIGS: dict[str, Config] = {
    "minimal": config(),
    "typical": config(
        sensors=readings(1) + figures.make_sensors("bme280", 1) + figures.make_sensors("ds18b20", 2),
        actuators=figures.make_actuators("switch", "light"),
    ),
    "20 sensors": config(sensors=readings(20)),
    "all kinds": config(
        sensors=readings(2)
        + [
            sensor
            for kind in ("dht22", "bme280", "sht3x", "digital", "pulse")
            for sensor in figures.make_sensors(kind, 1)
        ],
        actuators=figures.make_actuators("valve", "servo"),
        tasmota=True,
    ),
    "discovery": config(
        sensors=readings(6), actuators=figures.make_actuators("switch"), discovery="homeassistant"
    ),
    "journal": config(sensors=readings(4), journal=8192),
    "journal, discovery, backlog on flash": config(
        sensors=readings(4),
        actuators=figures.make_actuators("switch", "switch"),
        journal=8192,
        discovery="homeassistant",
        backlog={"keep": 200, "on_flash": True},
    ),
    "20 sensors, journal, discovery, backlog on flash": config(
        sensors=readings(20),
        actuators=figures.make_actuators("switch", "switch"),
        journal=8192,
        discovery="homeassistant",
        backlog={"keep": 200, "on_flash": True},
    ),
    "large backlog": config(sensors=readings(2), backlog={"keep": 1000}),
    "TLS, journal, a name": config(
        sensors=readings(3),
        broker={"host": "broker.example.com", "tls": {"ca": "ca.pem"}},
        journal=8192,
        update={"key": "00" * 16},
    ),
}


def check(settings: Mapping[str, Any], folder: Path) -> Config:
    """Return the config with its defaults, as the config check fills them in."""
    (folder / "ca.pem").touch()
    (folder / "config.json").write_bytes(format_config(settings))
    checked: Config = app_config.load(str(folder / "config.json"), definition.load_board(BOARD).pins)
    return checked


@pytest.fixture(scope="module")
def vm_32() -> Callable[[str], measure.HeldHeap]:
    if not process.has_vm_32():
        pytest.skip("the 32-bit VM needs node and npm, which are not installed")
    return lambda name: measure.measure(BOARD, CONFIGS[name])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_estimate_agrees_with_the_heap_that_a_device_holds(
    name: str, tmp_path: Path, vm_32: Callable[[str], measure.HeldHeap]
) -> None:
    """If this fails after a change of the firmware: python -m tools measure-heap."""
    found = heap_estimate.estimate(check(CONFIGS[name], tmp_path), definition.load_board(BOARD))
    held = vm_32(name)
    assert held.missing == ()
    assert found.check == pytest.approx(held.check, rel=TOLERANCE), "run `python -m tools measure-heap`"
    assert found.run == pytest.approx(held.run, rel=TOLERANCE), "run `python -m tools measure-heap`"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_device_runs_completely_in_the_heap_that_it_needs_and_not_in_less(
    name: str, tmp_path: Path
) -> None:
    """The 64-bit VM limits the heap. What a device holds there is measured; the room is that of boards."""
    found = heap_estimate.estimate(check(CONFIGS[name], tmp_path), definition.load_board(BOARD))
    held = measure.run_in_heap(BOARD, CONFIGS[name], LARGE_HEAP)
    assert held
    need = max(held.check + RATIO_64 * found.check_room, held.run + RATIO_64 * found.run_room)
    enough = measure.run_in_heap(BOARD, CONFIGS[name], round(need * (1 + MORE)))
    assert enough and enough.missing == ()
    little = measure.run_in_heap(BOARD, CONFIGS[name], round(need * (1 - LESS)))
    assert little is None or little.missing


# the board with the least memory; a heap in the 64-bit VM is larger by the ratio of the two VMs
MEMORY = definition.load_board(BOARD).memory
REFUSED = "20 sensors, journal, discovery, backlog on flash, update"
CONFIGS[REFUSED] = {
    **CONFIGS["20 sensors, journal, discovery, backlog on flash"],
    "update": {"key": "00" * 16},
    "backlog": {"keep": 800, "on_flash": True},
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CONFIGS)
def test_accepted_configs_run_in_the_heap_of_the_board_and_refused_ones_do_not(
    name: str, tmp_path: Path
) -> None:
    assert MEMORY
    checked = check(CONFIGS[name], tmp_path)
    is_accepted = True
    try:
        heap_estimate.check_heap(checked, definition.load_board(BOARD))
    except UserError:
        is_accepted = False
    found = heap_estimate.estimate(checked, definition.load_board(BOARD))
    if MEMORY.heap * (1 - LESS) < found.need < MEMORY.heap * (1 + LESS):
        pytest.skip("the estimate is not accurate enough to tell")
    held = measure.run_in_heap(BOARD, CONFIGS[name], LARGE_HEAP)
    assert held
    ratio = max(held.check, held.run) / max(found.check, found.run)
    run = measure.run_in_heap(BOARD, CONFIGS[name], round(MEMORY.heap * ratio))
    assert bool(run and not run.missing) == is_accepted


def refuse(settings: Config, key: str = BOARD, heap: int | None = None) -> str:
    with pytest.raises(UserError) as error:
        validate(settings, {}, definition.load_board(key), heap)
    return str(error.value)


def test_a_refusal_names_the_estimate_the_heap_and_what_to_leave_out_largest_first() -> None:
    assert MEMORY
    text = refuse(CONFIGS[REFUSED])
    assert text.startswith("config.json: needs about ") and f"ESP32 has {MEMORY.heap:,}. " in text
    assert "--heap" in text
    savings = text.partition("the largest first: ")[2].partition(". ")[0].split("; ")
    names = [saving.rpartition(": ")[0] for saving in savings]
    numbers = [int(saving.rpartition(": ")[2].split()[0].replace(",", "")) for saving in savings]
    assert numbers == sorted(numbers, reverse=True)
    assert names[0].startswith("backlog.keep: 50 instead of 800")
    assert any(name.startswith("the 20 sensors of kind chip_temperature, ") for name in names)
    assert {"journal", "discovery", "update", "backlog.on_flash"} <= set(names)


def test_leaving_out_what_a_refusal_names_makes_the_config_fit() -> None:
    settings = dict(CONFIGS[REFUSED])
    assert refuse(settings)
    settings.update(backlog={"keep": 50})
    del settings["journal"]
    validate(settings, {}, definition.load_board(BOARD))


def test_the_heap_of_another_micropython_is_used_if_it_is_given() -> None:
    board = definition.load_board(BOARD)
    validate(CONFIGS[REFUSED], {}, board, 4_000_000)  # PSRAM
    assert "has 90,000" in refuse(CONFIGS["minimal"], heap=90_000)


def test_a_config_that_nearly_fills_the_heap_causes_a_warning(tmp_path: Path) -> None:
    board = definition.load_board(BOARD)
    need = heap_estimate.estimate(check(CONFIGS["journal"], tmp_path), board).need
    assert validate(CONFIGS["journal"], {}, board, need * 2) is None
    warning = validate(CONFIGS["journal"], {}, board, need + 1000)
    assert warning and "nearly full" in warning and "journal: " in warning
    refuse(CONFIGS["journal"], heap=need - 1)


@pytest.mark.parametrize("key", [key for key in definition.list_boards() if key != "host"])
def test_the_config_of_a_new_device_and_a_typical_one_fit_on_each_board(key: str) -> None:
    board = definition.load_board(key)
    assert board.memory and key in table.load_figures()["boards"]
    new = {**config(), **default_config(board), "broker": {"host": "broker.local"}}
    assert validate(new, {}, board) is None
    typical = {**new, "discovery": "homeassistant", "backlog": {"keep": 100}}
    assert validate(typical, {}, board) is None


def test_tls_takes_the_heap_of_a_pico_and_other_memory_of_an_esp32(tmp_path: Path) -> None:
    tls = {"broker": {"host": "192.168.1.5", "tls": {"ca": "ca.pem"}}}
    needs = {}
    for key in ("esp32", "rpi_pico_w"):
        board = definition.load_board(key)
        both = [
            heap_estimate.estimate(check({**CONFIGS["journal"], **more}, tmp_path), board)
            for more in ({}, tls)
        ]
        needs[key] = both[1].run + both[1].run_room - both[0].run - both[0].run_room
    assert 3000 < needs["esp32"] < 8000
    assert 35_000 < needs["rpi_pico_w"] < 45_000


def test_each_kind_and_each_option_has_a_figure() -> None:
    """A kind that was added later has none: run `python -m tools measure-heap`."""
    found = table.load_figures()
    for group in ("each_sensor", "sensor_module"):
        assert set(found[group]) == {table.READING, *KINDS.split()} - {"dht11"}
    for group in ("each_actuator", "actuator_module"):
        assert set(found[group]) == set(actuator_schema.FIELDS)


@pytest.mark.parametrize(("reported", "used"), [(None, None), (150_000, None), (4_000_000, 4_000_000)])
def test_a_board_with_much_more_memory_than_its_kind_is_checked_with_what_it_reports(
    reported: int | None, used: int | None
) -> None:
    assert heap_estimate.choose_heap(definition.load_board(BOARD), reported) == used


def test_the_host_board_has_no_check_of_the_memory() -> None:
    board = definition.load_board("host")
    assert board.memory is None
    assert heap_estimate.check_heap({}, board) is None
