"""Validation of `fleet.toml`: an error message names the field and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tests.board.rig import run_tool
from host_tests.fleet.conftest import WriteDescription
from tools.errors import UserError
from tools.fleet import description
from tools.fleet.device_files import build_device_files
from tools.fleet.store import FleetStore


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('board = "esp32"\n', "", "board: missing"),
        ("count = 3", "count = -1", "count: -1, expected greater than or equal to 0"),
        ("count = 3", 'count = "3"', "count: '3', expected a valid integer"),
        ("count = 3", "cuont = 3", "cuont: unknown, expected one of actuators, board, broker,"),
        (
            "tls = true",
            "tls = true\nport = 99999",
            "broker.port: 99999, expected less than or equal to 65535",
        ),
        (
            "tls = true",
            "tsl = true",
            "broker.tsl: unknown, expected one of ca, host, keep_alive, operator_port, port, tls",
        ),
        ("{number:03}", "1", "name: 'greenhouse-1', expected a name that contains {number}"),
        ("{number:03}", "{number:0999999999}", "expected a name that contains {number}"),
        ("{number:03}", "{number:{number}}", "expected a name that contains {number}"),
        ("{number:03}", "{number.__class__}{number}", "expected a name that contains {number}"),
        ("{number:03}", "{nubmer}", "name: 'greenhouse-{nubmer}', expected a name that contains {number}"),
        ("{number:03}", "{number:030}", "expected 1 to 23 letters, digits, - or _"),
        ('"farm"', '"farm/#"', "prefix: 'farm/#', expected a topic without + and #"),
        ("tls = true", "tls = false", "expected broker.tls = true, because credentials.certificate is true"),
        ("period = 1", "period = 0", "sensors[0].period: 0, expected greater than or equal to 0.1"),
        ("[wifi]", "[[devices]]\nnumber = 9\n[wifi]", "devices[0].number: 9, expected 1 to 3"),
        ("count = 3", "count = 0", "count is 0 and there are no [[devices]], expected at least one device"),
        ("count = 3", "count =", "not valid TOML: "),
        ('"never print this"', "42", "wifi.password: expected a valid string"),
    ],
)
def test_an_error_in_the_description_is_reported_in_one_line(
    write_description: WriteDescription, old: str, new: str, line: str
) -> None:
    path = write_description((old, new))
    with pytest.raises(UserError) as caught:
        description.load_fleet(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and line in text and "\n" not in text
    assert "never print this" not in text


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('"chip_temperature"', '"humidity"', "greenhouse-001: sensors[0].kind: "),
        ('pin = "relay"', 'pin = "D7"', "greenhouse-001: actuators[0].pin: "),
        (
            'board = "esp32"',
            'board = "esp33"',
            "greenhouse-001: BOARD=esp33: no such board. Choose one of esp32,",
        ),
        ('name = "pump"', 'name = "pump 1"', "greenhouse-001: actuators[0].name: "),
    ],
)
def test_a_config_that_the_device_would_refuse_is_refused(
    write_description: WriteDescription, tmp_path: Path, old: str, new: str, line: str
) -> None:
    path = write_description((old, new))
    fleet = description.load_fleet(path)
    with pytest.raises(UserError) as caught:
        build_device_files(fleet, FleetStore(tmp_path / "private"), path)
    assert str(caught.value).startswith(f"{path}: {line}")


def test_devices_may_differ_from_the_common_settings(write_description: WriteDescription) -> None:
    more = """
[[devices]]
number = 2
health = 5

[[devices]]
name = "roof"
board = "rpi_pico_w"
"""
    path = write_description(('pin = "relay"\n', 'pin = "relay"\n' + more))
    devices = description.expand_devices(description.load_fleet(path))
    assert [(device.name, device.board, device.health) for device in devices] == [
        ("greenhouse-001", "esp32", 30),
        ("greenhouse-002", "esp32", 5),
        ("greenhouse-003", "esp32", 30),
        ("roof", "rpi_pico_w", 30),
    ]


def test_init_writes_a_description_that_generate_accepts(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    run_tool("fleet", "init", "--board", "rpi_pico_w", "--count", 4, "--host", "10.0.0.5", "--file", path)
    assert path.stat().st_mode & 0o777 == 0o600  # private, because the user adds the Wi-Fi password
    run_tool("fleet", "generate", "--file", path, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "greenhouse-004" / "config.json").exists()
    assert "already exists" in run_tool("fleet", "init", "--file", path, code=1)


def test_a_missing_description_is_reported_with_the_command_that_creates_it(tmp_path: Path) -> None:
    assert "`make fleet ARGS=init`" in run_tool("fleet", "generate", "--file", tmp_path / "none.toml", code=1)
