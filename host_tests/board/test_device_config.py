"""Configs that cannot be read, boards that do not answer, hostile file names: nothing is lost."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import serial

from host_tests.board.rig import run_failing_tool, run_tool
from host_tests.board.simulated_board import SimulatedBoard
from host_tests.board.test_flash import MakeRig
from tools.device_config import config as device_config
from tools.errors import UserError

UNREADABLE = (
    b'{"device": "dut", "broker": {"host": "b"}',  # not closed
    b'{"device": "dut", broker: {"host": "b"}}',  # a name without quotes
    b"\xff\xfe\x00{",
    b"",
    b"[]",
)


def provision(board: SimulatedBoard, state: Path, *arguments: object, code: int = 0) -> str:
    options = ("--board", "esp32", "--port", board.port, "--no-start", *arguments)
    return run_tool("provision", *options, code=code, XDG_STATE_HOME=str(state))


@pytest.mark.parametrize("content", UNREADABLE)
def test_a_config_that_cannot_be_read_is_kept_and_copied(
    deployed_board: SimulatedBoard, tmp_path: Path, content: bytes
) -> None:
    path = deployed_board.folder / "config.json"
    path.write_bytes(content)
    output = provision(deployed_board, tmp_path, "--set", "health=5", code=1)
    assert "cannot be read" in output and "--new-config" in output
    assert path.read_bytes() == content
    (saved,) = (tmp_path / "umqtt5" / "unreadable").iterdir()
    assert saved.read_bytes() == content and str(saved) in output


@pytest.mark.parametrize("before, after", ((b"", b",}"), (b"\xef\xbb\xbf", b"}")))
def test_a_config_that_the_board_or_this_computer_can_read_keeps_its_settings(
    deployed_board: SimulatedBoard, tmp_path: Path, before: bytes, after: bytes
) -> None:
    """The parser of MicroPython accepts a comma too many, that of CPython a byte order mark."""
    path = deployed_board.folder / "config.json"
    text = b'{"device": "dut", "wifi": {"ssid": "home"}, "health": 7, "broker": {"host": "b"}'
    path.write_bytes(before + text + after)
    provision(deployed_board, tmp_path, "--set", "broker.host=c")
    written = json.loads(path.read_text())
    assert written["health"] == 7 and written["broker"]["host"] == "c" and written["wifi"]["ssid"] == "home"


def test_a_folder_in_place_of_the_config_is_an_error(deployed_board: SimulatedBoard, tmp_path: Path) -> None:
    (deployed_board.folder / "config.json").unlink()
    (deployed_board.folder / "config.json").mkdir()
    assert "cannot be read" in provision(deployed_board, tmp_path, "--set", "health=5", code=1)


def test_a_busy_port_is_not_an_empty_board(deployed_board: SimulatedBoard, tmp_path: Path) -> None:
    before = (deployed_board.folder / "config.json").read_bytes()
    with serial.Serial(deployed_board.port, exclusive=True):
        output = provision(deployed_board, tmp_path, "--set", "health=5", code=1)
    assert "another program uses the port" in output
    assert (deployed_board.folder / "config.json").read_bytes() == before


def test_flash_does_not_erase_a_config_that_it_cannot_read(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig("esp32")
    rig.preinstall()
    path = rig.filesystem / "config.json"
    path.write_bytes(UNREADABLE[0])
    with rig.plug_in() as board:
        state = {"XDG_STATE_HOME": str(tmp_path / "state")}
        error = run_failing_tool("flash", *rig.flash_options(board), "--set", "health=5", **state)
        assert "cannot be read" in error and path.read_bytes() == UNREADABLE[0]
        assert board.flash.data[0x200000] == 0  # nothing was erased
        run_tool("flash", *rig.flash_options(board), "--new-config", *rig.config_options, **state)
    assert json.loads(path.read_text())["device"] == "dut"


def test_flash_does_not_erase_a_board_with_content_that_does_not_answer(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig("esp32")
    rig.flash.data[0x1000] = 0xE9  # another program
    rig.flash.data[0x8000:0x8002] = b"\xaa\x50"  # its partition table
    with rig.plug_in() as board:
        state = {"XDG_STATE_HOME": str(tmp_path / "state")}
        error = run_failing_tool("flash", *rig.flash_options(board), *rig.config_options, **state)
        assert "does not answer" in error and "--new-config" in error
        assert rig.flash.data[0x8000:0x8002] == b"\xaa\x50"
        run_tool("flash", *rig.flash_options(board), "--new-config", *rig.config_options, **state)
    assert json.loads((rig.filesystem / "config.json").read_text())["device"] == "dut"


@pytest.mark.parametrize("name", ("{}/precious", "../precious", "/etc/passwd", "a/b", "..", "nul"))
def test_a_board_cannot_name_files_of_this_computer(
    deployed_board: SimulatedBoard, tmp_path: Path, name: str
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    path = deployed_board.folder / "config.json"
    content = json.loads(path.read_text())
    content["broker"]["tls"] = {"ca": name.format(tmp_path)}
    path.write_text(json.dumps(content))
    output = provision(deployed_board, tmp_path / "state", "--set", "health=5", code=1)
    assert "broker.tls.ca" in output
    assert (
        precious.read_text() == "mine" and sorted(p.name for p in tmp_path.iterdir() if p.name == "b") == []
    )


@pytest.mark.parametrize(
    "assignment, value",
    [
        ("wifi.password=7e123456", "7e123456"),
        ("wifi.password=12.50", "12.50"),
        ("wifi.password=true", "true"),
        ("wifi.password=null", "null"),
        ("broker.password={}", "{}"),
        ("wifi.ssid=[1]", "[1]"),
        ("device=007", "007"),
        ("update.key=12345678901234567890123456789012", "12345678901234567890123456789012"),
        ("broker.port=1884", 1884),
        ("health=2.5", 2.5),
        ("watchdog=false", False),
        ("ntp=[]", []),
        ("broker.port=", None),
        ("wifi.password=", None),
        ("sensors[0].name=12", "12"),
        ("sensors[0].period=3", 3),
        ("actuators[0].pin=lamp", "lamp"),
    ],
)
def test_a_value_takes_the_type_of_its_field(assignment: str, value: object) -> None:
    content = {"sensors": [{"kind": "digital", "pin": 4}]}
    found = device_config.parse_assignment(assignment, content)[1]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "assignment",
    ("broker.port=x", "broker.port=true", 'health="5"', "watchdog=1", "health=NaN", "ntp={}", "health=1e999"),
)
def test_a_value_of_another_type_is_refused(assignment: str) -> None:
    try:
        value = device_config.parse_assignment(assignment, {})[1]
    except UserError as error:
        assert assignment.split("=")[0] in str(error) and "expected" in str(error)
    else:
        assert isinstance(value, float) and math.isinf(value)  # the check of the config refuses it
        assert assignment == "health=1e999"
