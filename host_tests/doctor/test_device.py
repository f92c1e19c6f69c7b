"""What `make doctor` says of boards: the real mpremote, the real VM at the end of a cable."""

from __future__ import annotations

import json
import os
import tty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from host_tests.board.rig import Rig, tool
from host_tests.board.simulated_board import Board as Cable
from host_tests.device.observer import desk
from tools import broker
from tools.board import definition
from tools.doctor import device, serial_ports
from tools.doctor.context import Case
from tools.doctor.finding import OK, PROBLEM, WARNING, Finding


def doctor(*arguments: str, code: int) -> dict[str, Finding]:
    """The findings of a run, by what they are about; the last where there are several."""
    said = tool("doctor", "--json", *arguments, code=code)
    return {one["what"]: Finding(**one) for one in json.loads(said)}


@pytest.fixture
def here(tmp_path: Path, iotcore: broker.Address) -> Iterator[tuple[Cable, Rig]]:
    with Cable(tmp_path / "files") as cable:
        yield cable, Rig("esp32", tmp_path, iotcore)


def test_micropython_alone(here: tuple[Cable, Rig]) -> None:
    cable, _ = here
    found = doctor("--port", cable.port, "--board", "esp32", code=0)
    assert found[cable.port].text == "can be opened"
    assert found[f"MicroPython on {cable.port}"].level in (OK, WARNING)  # by the version of the VM
    assert (found["application"].level, found["application"].text) == (WARNING, "not on the board")
    assert "make deploy" in found["application"].remedy
    assert found["config.json"].level == WARNING and "make provision" in found["config.json"].remedy


def test_a_micropython_of_another_version(here: tuple[Cable, Rig]) -> None:
    target = definition.load("esp32")
    assert target.firmware
    newer = replace(target, firmware=replace(target.firmware, version="9.9.9"))
    case = Case(newer, here[0].port)
    (found,) = device.micropython(case)
    assert found.level == WARNING and "9.9.9 is pinned" in found.text
    assert f"make flash BOARD=esp32 PORT={here[0].port}" == found.remedy
    assert isinstance(case.facts, dict)
    case.facts["mpy"] = 5
    (found,) = device.micropython(case)
    assert found.level == PROBLEM and "loads .mpy of version 5, ours are of 6" in found.text


def test_a_device_with_its_broker_and_it_goes_on_afterwards(here: tuple[Cable, Rig]) -> None:
    cable, rig = here
    options = ("--board", "esp32", "--port", cable.port)
    tool("deploy", *options, "--no-start")
    tool("provision", *options, "--no-start", *rig.config)
    found = doctor(*options, code=0)
    assert found["application"].level == OK
    assert found["config.json"] == Finding(OK, "config.json", "good: dut below test/")
    where = f"{rig.broker.host}:{rig.broker.port}"
    assert found[f"broker {where}"].level == OK and found[f"MQTT at {where}"].level == OK
    assert "to a board that is the board itself" in found["name"].text  # 127.0.0.1
    with desk(rig.broker) as watcher:
        watcher.until(lambda: watcher.dut.status == "online")

    (rig.files / "umqtt5" / "simple.mpy").unlink()
    path = rig.files / "config.json"
    path.write_text(path.read_text().replace('"sensors"', '"sensorz"'))
    found = doctor(*options, code=1)
    assert found["application"].text == "1 files differ, 0 do not belong there"
    assert found["config.json"].level == PROBLEM and "sensorz: unknown" in found["config.json"].text


def test_a_port_without_micropython() -> None:
    near, far = os.openpty()
    tty.setraw(far)
    case = Case(port=os.ttyname(far))
    (found,) = device.micropython(case)
    os.close(near)
    os.close(far)
    assert found.level == PROBLEM and "answers no MicroPython" in found.text and "make flash" in found.remedy


def test_a_damaged_firmware_in_the_cache(tmp_path: Path) -> None:
    target = definition.load("esp32")
    assert device.kept(target, None).level == OK
    (tmp_path / "esp32.bin").write_bytes(b"half of it")
    found = device.kept(target, tmp_path / "esp32.bin")
    assert found.level == PROBLEM and found.remedy == f"rm '{tmp_path / 'esp32.bin'}'"


def test_a_board_in_its_bootloader(tmp_path: Path) -> None:
    case = Case(target=definition.load("rpi_pico_w"), drive=tmp_path / "drive")
    assert list(serial_ports.boot_drive(case)) == []
    with Cable(tmp_path / "files", drive=tmp_path / "drive", firmware=b"uf2"):
        (found,) = serial_ports.boot_drive(case)
    assert found.level == OK and str(tmp_path / "drive") in found.text
