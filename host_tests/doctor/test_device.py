"""`make doctor` checks a simulated board: MicroPython version, application, config.json, bootloader."""

from __future__ import annotations

import json
import os
import tty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from host_tests.board.rig import Rig, run_tool
from host_tests.board.simulated_board import SimulatedBoard
from host_tests.device.observer import observe
from tools import broker
from tools.board import definition
from tools.doctor import device, serial_ports
from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Finding


def doctor(*arguments: str, code: int) -> dict[str, Finding]:
    """Run doctor and return its findings as a dict from subject to finding, the last one if several."""
    output = run_tool("doctor", "--json", *arguments, code=code)
    return {finding["subject"]: Finding(**finding) for finding in json.loads(output)}


@pytest.fixture
def board_and_rig(tmp_path: Path, iotcore: broker.Address) -> Iterator[tuple[SimulatedBoard, Rig]]:
    """A board with MicroPython and an empty filesystem, and its rig."""
    with SimulatedBoard(tmp_path / "files") as board:
        yield board, Rig("esp32", tmp_path, iotcore)


def test_a_board_without_the_application_is_reported(board_and_rig: tuple[SimulatedBoard, Rig]) -> None:
    board, _ = board_and_rig
    found = doctor("--port", board.port, "--board", "esp32", code=0)
    assert found[board.port].message == "can be opened"
    assert found[f"MicroPython on {board.port}"].level in (OK, WARNING)  # depends on the version of the VM
    assert (found["application"].level, found["application"].message) == (WARNING, "not installed")
    assert "make deploy" in found["application"].remedy
    assert found["config.json"].level == WARNING and "make provision" in found["config.json"].remedy


def test_another_micropython_version_is_reported(board_and_rig: tuple[SimulatedBoard, Rig]) -> None:
    target = definition.load_board("esp32")
    assert target.firmware
    newer = replace(target, firmware=replace(target.firmware, version="9.9.9"))
    context = CheckContext(newer, board_and_rig[0].port)
    (found,) = device.check_micropython(context)
    assert found.level == WARNING and "9.9.9 is pinned" in found.message
    assert f"make flash BOARD=esp32 PORT={board_and_rig[0].port}" == found.remedy
    assert isinstance(context.micropython_info, dict)
    context.micropython_info["mpy"] = 5
    (found,) = device.check_micropython(context)
    assert found.level == ERROR and "loads .mpy files of version 5, but ours have version 6" in found.message


def test_a_device_is_checked_with_its_broker_and_continues_afterwards(
    board_and_rig: tuple[SimulatedBoard, Rig],
) -> None:
    board, rig = board_and_rig
    options = ("--board", "esp32", "--port", board.port)
    run_tool("deploy", *options, "--no-start")
    run_tool("provision", *options, "--no-start", *rig.config_options)
    found = doctor(*options, code=0)
    assert found["application"].level == OK
    assert found["config.json"] == Finding(OK, "config.json", "valid; the device publishes under test/dut/")
    address = f"{rig.broker.host}:{rig.broker.port}"
    assert found[f"broker {address}"].level == OK and found[f"MQTT at {address}"].level == OK
    assert "which is the board itself" in found["name"].message  # 127.0.0.1
    with observe(rig.broker) as observer:
        observer.wait_until(lambda: observer.dut.status == "online")

    next((rig.filesystem / "umqtt5").glob("*.mpy")).unlink()
    path = rig.filesystem / "config.json"
    path.write_text(path.read_text().replace('"sensors"', '"sensorz"'))
    found = doctor(*options, code=1)
    assert found["application"].message == "not up to date: 1 files to copy, 0 to remove"
    assert found["config.json"].level == ERROR and "sensorz: unknown" in found["config.json"].message


def test_a_port_without_micropython_is_reported() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    context = CheckContext(port=os.ttyname(slave))
    (found,) = device.check_micropython(context)
    os.close(master)
    os.close(slave)
    assert (
        found.level == ERROR
        and "MicroPython does not answer" in found.message
        and "make flash" in found.remedy
    )


def test_a_damaged_firmware_in_the_cache_is_reported_with_the_command_that_deletes_it(tmp_path: Path) -> None:
    target = definition.load_board("esp32")
    assert device.rate_cached_firmware(target, None).level == OK
    (tmp_path / "esp32.bin").write_bytes(b"truncated")
    found = device.rate_cached_firmware(target, tmp_path / "esp32.bin")
    assert found.level == ERROR and found.remedy == f"rm '{tmp_path / 'esp32.bin'}'"


def test_a_board_in_its_bootloader_is_found(tmp_path: Path) -> None:
    context = CheckContext(selected_board=definition.load_board("rpi_pico_w"), drive=tmp_path / "drive")
    assert list(serial_ports.check_boot_drive(context)) == []
    with SimulatedBoard(tmp_path / "files", drive=tmp_path / "drive", firmware=b"uf2"):
        (found,) = serial_ports.check_boot_drive(context)
    assert found.level == OK and str(tmp_path / "drive") in found.message
