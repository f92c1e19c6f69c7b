"""`make flash`: the real esptool and mpremote, the ROM bootloader, the VM at the end of a cable."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import serial
from rich.console import Console

from host_tests.board import rig as rigs
from host_tests.board.rig import Rig, problem, run, tool
from host_tests.device.observer import desk
from tools.board import definition, esptool, firmware
from tools.broker import Address
from tools.errors import Problem

ESP32 = ("esp32", "esp32_s3", "esp32_c3")
MakeRig = Callable[[str], Rig]


@pytest.mark.parametrize("key", ["esp32", "rpi_pico_w"])
def test_make_flash_turns_a_bare_board_into_a_device(key: str, rig: MakeRig) -> None:
    here = rig(key)
    with here.plug() as cable, desk(here.broker) as watcher:
        make = ["make", "-s", "flash", f"BOARD={key}", f"PORT={cable.port}", f"FIRMWARE={here.file}"]
        if here.drive:
            make.append(f"DRIVE={here.drive}")
        said = run([*make, "ARGS=" + " ".join(f"'{word}'" for word in here.config)])
        assert "dut: connected to" in said  # its first lines
        assert rigs.SECRET not in said
        watcher.until(lambda: watcher.dut.status == "online" and watcher.dut.readings)
        assert cable.runs_micropython


@pytest.mark.parametrize("key", ESP32)
def test_the_firmware_arrives_at_the_offset_of_the_chip(key: str, rig: MakeRig) -> None:
    here = rig(key)
    here.flash.data[0x200000:0x200010] = b"of an old life.."
    with here.plug() as cable:
        tool("flash", *here.options(cable), *here.config, "--no-start")
        content = rigs.firmware(key)
        offset = {"esp32": 0x1000, "esp32_s3": 0, "esp32_c3": 0}[key]
        assert here.flash.data[offset : offset + len(content)] == content
        assert here.flash.data[0x200008] == 0xFF  # erased


def test_flashed_again_it_keeps_its_config(rig: MakeRig) -> None:
    here = rig("esp32")
    here.prepare(health=8)
    with here.plug() as cable:
        tool("flash", *here.options(cable), "--no-start")
        assert json.loads((here.files / "config.json").read_text())["health"] == 8


def test_a_pico_that_runs_is_brought_into_its_bootloader(rig: MakeRig) -> None:
    here = rig("rpi_pico_w")
    with here.plug() as cable:
        tool("flash", *here.options(cable), *here.config, "--no-start")
        said = tool("flash", *here.options(cable), "--no-start")
        assert "asking MicroPython for its bootloader" in said
        assert f"{here.file.name} taken" in said


def test_dry_prints_the_steps_and_does_none(rig: MakeRig) -> None:
    here = rig("esp32")
    with here.plug() as cable:
        said = tool("flash", *here.options(cable), "--dry")
        assert re.findall(r"^\d\. ", said, re.MULTILINE) == [f"{n}. " for n in range(1, 9)]
        assert "0x1000" in said
        assert cable.received == 0 and not list(here.files.iterdir())


# ---- cut off


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, address: Address) -> int:
    """How many bytes go to a device that is flashed anew."""
    here = Rig("esp32", tmp_path_factory.mktemp("whole"), address)
    here.prepare()
    with here.plug() as cable:
        tool("flash", *here.options(cable), "--no-start")
        return cable.received


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.8, 0.97])
def test_a_second_run_mends_one_that_was_cut_off(share: float, rig: MakeRig, whole: int) -> None:
    here = rig("esp32")
    here.prepare(health=77)
    with here.plug(pulled_after=int(whole * share)) as cable:
        said = problem("flash", *here.options(cable), "--no-start")
        assert cable.pulled_out.is_set()
        assert cable.port in said and "do it again" in said
    with here.plug() as cable:
        tool("flash", *here.options(cable), "--no-start")
        assert json.loads((here.files / "config.json").read_text())["health"] == 77
        assert (here.files / "main.py").exists() and here.flash.holds(rigs.firmware("esp32"), 0x1000)


def test_pulled_out_while_it_is_written(rig: MakeRig) -> None:
    here = rig("esp32")
    with here.plug(pulled_after=30000) as cable:
        said = problem("flash", *here.options(cable), *here.config)
        went = "the board went away in the midst of it: plug it in and do it again, nothing is lost"
        assert (cable.port, went) == tuple(said.split(": ", 1))


# ---- what does not fit


def test_another_chip_is_left_alone(rig: MakeRig) -> None:
    here = rig("esp32")
    here.flash.data[0:4] = b"kept"
    with here.plug() as cable:
        other = Rig("esp32_c3", here.folder / "files", here.broker)
        said = problem("flash", "--board", "esp32_c3", "--port", cable.port, "--firmware", other.file)
        assert "the chip is ESP32" in said and "boards/esp32_c3 is for esp32c3" in said and "BOARD=" in said
        assert here.flash.data[0:4] == b"kept"


@pytest.mark.parametrize(
    "key, wrong, words",
    [
        ("esp32", "esp32_s3", "not for esp32, which ESP32 has"),
        ("esp32", "rpi_pico_w", "not a firmware of Espressif's chips"),
        ("rpi_pico_w", "esp32", "not a UF2 file"),
        ("rpi_pico2_w", "rpi_pico_w", "not for rp2350"),
    ],
)
def test_firmware_of_another_chip_is_refused(
    key: str, wrong: str, words: str, rig: MakeRig, tmp_path: Path
) -> None:
    here = rig(key)
    file = tmp_path / "wrong"
    file.write_bytes(rigs.firmware(wrong))
    with here.plug() as cable:
        drive = ["--drive", str(here.drive)] if here.drive else []
        port = [] if here.drive else ["--port", cable.port]
        said = problem("flash", "--board", key, *port, "--firmware", file, *drive)
        assert words in said


def test_a_port_that_is_busy(rig: MakeRig) -> None:
    here = rig("esp32")
    with here.plug() as cable, serial.Serial(cable.port, exclusive=True):
        for command in (
            ["flash", *here.options(cable)],
            ["deploy", "--board", "esp32", "--port", cable.port],
        ):
            said = problem(*command)
            assert said.startswith(f"{cable.port}: ") and "another program" in said


def test_a_port_that_is_not_there() -> None:
    assert "/dev/ttyNONE: there is no such port" in problem(
        "flash", "--board", "esp32", "--port", "/dev/ttyNONE"
    )


def test_a_board_that_there_is_not() -> None:
    said = problem("flash", "--board", "esp33")
    assert said.startswith("BOARD=esp33: there are esp32, ")


# ---- downloads


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server of firmware: its address, its folder."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()


def test_a_corrupt_download_is_thrown_away(mirror: tuple[str, Path], rig: MakeRig, tmp_path: Path) -> None:
    url, folder = mirror
    wanted = definition.load("esp32").firmware
    assert wanted
    (folder / wanted.file).write_bytes(b"\xe9 this is not what was published")
    here = rig("esp32")
    cache = tmp_path / "cache"
    with here.plug() as cable:
        options = ["--board", "esp32", "--port", cable.port, "--mirror", url]
        said = problem("flash", *options, XDG_CACHE_HOME=str(cache))
        assert "not what the SHA-256 in board.toml says" in said and "thrown away" in said
        assert not [path for path in cache.rglob("*") if path.is_file()]
        (folder / wanted.file).unlink()
        said = problem("flash", *options, XDG_CACHE_HOME=str(cache))
        assert "404" in said and "FIRMWARE=" in said
        assert here.flash.data.count(0xFF) == len(here.flash.data)  # nothing was touched


def test_a_download_is_kept(
    mirror: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = mirror
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    target = definition.load("esp32")
    assert target.firmware
    content = rigs.firmware("esp32")
    target = replace(target, firmware=replace(target.firmware, sha256=sha256(content).hexdigest()))
    assert target.firmware
    (folder / target.firmware.file).write_bytes(content)
    number = esptool.chip_of(target).IMAGE_CHIP_ID
    first = firmware.get(target, None, url, Console(quiet=True), number)
    assert first.read_bytes() == content
    (folder / target.firmware.file).unlink()
    assert firmware.get(target, None, url, Console(quiet=True), number) == first
    with pytest.raises(Problem, match="check the network"):  # what was kept is checked, too
        first.write_bytes(content[:-1])
        firmware.get(target, None, "http://127.0.0.1:1/", Console(quiet=True), number)


def test_every_pinned_firmware_has_its_checksum() -> None:
    for key in definition.names():
        pinned = definition.load(key).firmware
        assert pinned is None or re.fullmatch("[0-9a-f]{64}", pinned.sha256), key
