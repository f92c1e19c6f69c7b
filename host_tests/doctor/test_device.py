"""What `make doctor` says of boards: the real mpremote, the real VM at the end of a cable."""

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
    """The findings of a run, by what they are about; the last where there are several."""
    said = run_tool("doctor", "--json", *arguments, code=code)
    return {one["subject"]: Finding(**one) for one in json.loads(said)}


@pytest.fixture
def deployed_board(tmp_path: Path, iotcore: broker.Address) -> Iterator[tuple[SimulatedBoard, Rig]]:
    with SimulatedBoard(tmp_path / "files") as cable:
        yield cable, Rig("esp32", tmp_path, iotcore)


def test_micropython_alone(deployed_board: tuple[SimulatedBoard, Rig]) -> None:
    cable, _ = deployed_board
    found = doctor("--port", cable.port, "--board", "esp32", code=0)
    assert found[cable.port].message == "can be opened"
    assert found[f"MicroPython on {cable.port}"].level in (OK, WARNING)  # by the version of the VM
    assert (found["application"].level, found["application"].message) == (WARNING, "not installed")
    assert "make deploy" in found["application"].remedy
    assert found["config.json"].level == WARNING and "make provision" in found["config.json"].remedy


def test_a_micropython_of_another_version(deployed_board: tuple[SimulatedBoard, Rig]) -> None:
    target = definition.load_board("esp32")
    assert target.firmware
    newer = replace(target, firmware=replace(target.firmware, version="9.9.9"))
    case = CheckContext(newer, deployed_board[0].port)
    (found,) = device.check_micropython(case)
    assert found.level == WARNING and "9.9.9 is pinned" in found.message
    assert f"make flash BOARD=esp32 PORT={deployed_board[0].port}" == found.remedy
    assert isinstance(case.micropython_info, dict)
    case.micropython_info["mpy"] = 5
    (found,) = device.check_micropython(case)
    assert found.level == ERROR and "loads .mpy files of version 5, but ours have version 6" in found.message


def test_a_device_with_its_broker_and_it_goes_on_afterwards(
    deployed_board: tuple[SimulatedBoard, Rig],
) -> None:
    cable, rig = deployed_board
    options = ("--board", "esp32", "--port", cable.port)
    run_tool("deploy", *options, "--no-start")
    run_tool("provision", *options, "--no-start", *rig.config_options)
    found = doctor(*options, code=0)
    assert found["application"].level == OK
    assert found["config.json"] == Finding(OK, "config.json", "valid; the device publishes under test/dut/")
    where = f"{rig.broker.host}:{rig.broker.port}"
    assert found[f"broker {where}"].level == OK and found[f"MQTT at {where}"].level == OK
    assert "which is the board itself" in found["name"].message  # 127.0.0.1
    with observe(rig.broker) as observer:
        observer.wait_until(lambda: observer.dut.status == "online")

    (rig.filesystem / "umqtt5" / "simple.mpy").unlink()
    path = rig.filesystem / "config.json"
    path.write_text(path.read_text().replace('"sensors"', '"sensorz"'))
    found = doctor(*options, code=1)
    assert found["application"].message == "not up to date: 1 files to copy, 0 to remove"
    assert found["config.json"].level == ERROR and "sensorz: unknown" in found["config.json"].message


def test_a_port_without_micropython() -> None:
    near, far = os.openpty()
    tty.setraw(far)
    case = CheckContext(port=os.ttyname(far))
    (found,) = device.check_micropython(case)
    os.close(near)
    os.close(far)
    assert (
        found.level == ERROR
        and "MicroPython does not answer" in found.message
        and "make flash" in found.remedy
    )


def test_a_damaged_firmware_in_the_cache(tmp_path: Path) -> None:
    target = definition.load_board("esp32")
    assert device.rate_cached_firmware(target, None).level == OK
    (tmp_path / "esp32.bin").write_bytes(b"half of it")
    found = device.rate_cached_firmware(target, tmp_path / "esp32.bin")
    assert found.level == ERROR and found.remedy == f"rm '{tmp_path / 'esp32.bin'}'"


def test_a_board_in_its_bootloader(tmp_path: Path) -> None:
    case = CheckContext(selected_board=definition.load_board("rpi_pico_w"), drive=tmp_path / "drive")
    assert list(serial_ports.check_boot_drive(case)) == []
    with SimulatedBoard(tmp_path / "files", drive=tmp_path / "drive", firmware=b"uf2"):
        (found,) = serial_ports.check_boot_drive(case)
    assert found.level == OK and str(tmp_path / "drive") in found.message
