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

from host_tests.board.rig import SECRET, Rig, fake_firmware, run_command, run_failing_tool, run_tool
from host_tests.device.observer import observe
from tools.board import definition, esptool, firmware
from tools.broker import Address
from tools.errors import UserError

ESP32 = ("esp32", "esp32_s3", "esp32_c3")
MakeRig = Callable[[str], Rig]


@pytest.mark.parametrize("key", ["esp32", "rpi_pico_w"])
def test_make_flash_turns_a_bare_board_into_a_device(key: str, make_rig: MakeRig) -> None:
    rig = make_rig(key)
    with rig.plug_in() as cable, observe(rig.broker) as observer:
        make = ["make", "-s", "flash", f"BOARD={key}", f"PORT={cable.port}", f"FIRMWARE={rig.firmware_path}"]
        if rig.drive:
            make.append(f"DRIVE={rig.drive}")
        said = run_command([*make, "ARGS=" + " ".join(f"'{word}'" for word in rig.config_options)])
        assert "dut: connected to" in said  # its first lines
        assert SECRET not in said
        observer.wait_until(lambda: observer.dut.status == "online" and observer.dut.readings)
        assert cable.runs_micropython


@pytest.mark.parametrize("key", ESP32)
def test_the_firmware_arrives_at_the_offset_of_the_chip(key: str, make_rig: MakeRig) -> None:
    rig = make_rig(key)
    rig.flash.data[0x200000:0x200010] = b"of an old life.."
    with rig.plug_in() as cable:
        run_tool("flash", *rig.flash_options(cable), *rig.config_options, "--no-start")
        content = fake_firmware(key)
        offset = {"esp32": 0x1000, "esp32_s3": 0, "esp32_c3": 0}[key]
        assert rig.flash.data[offset : offset + len(content)] == content
        assert rig.flash.data[0x200008] == 0xFF  # erased


def test_flashed_again_it_keeps_its_config(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    rig.preinstall(health=8)
    with rig.plug_in() as cable:
        run_tool("flash", *rig.flash_options(cable), "--no-start")
        assert json.loads((rig.filesystem / "config.json").read_text())["health"] == 8


def test_a_pico_that_runs_is_brought_into_its_bootloader(make_rig: MakeRig) -> None:
    rig = make_rig("rpi_pico_w")
    with rig.plug_in() as cable:
        run_tool("flash", *rig.flash_options(cable), *rig.config_options, "--no-start")
        said = run_tool("flash", *rig.flash_options(cable), "--no-start")
        assert "asking MicroPython to start the bootloader" in said
        assert f"{rig.firmware_path.name} installed" in said


def test_dry_prints_the_steps_and_does_none(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    with rig.plug_in() as cable:
        said = run_tool("flash", *rig.flash_options(cable), "--dry-run")
        assert re.findall(r"^\d\. ", said, re.MULTILINE) == [f"{n}. " for n in range(1, 9)]
        assert "0x1000" in said
        assert cable.received == 0 and not list(rig.filesystem.iterdir())


# ---- cut off


@pytest.fixture(scope="module")
def total_bytes(tmp_path_factory: pytest.TempPathFactory, address: Address) -> int:
    """How many bytes go to a device that is flashed anew."""
    rig = Rig("esp32", tmp_path_factory.mktemp("whole"), address)
    rig.preinstall()
    with rig.plug_in() as cable:
        run_tool("flash", *rig.flash_options(cable), "--no-start")
        return cable.received


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.8, 0.97])
def test_a_second_run_mends_one_that_was_cut_off(share: float, make_rig: MakeRig, total_bytes: int) -> None:
    rig = make_rig("esp32")
    rig.preinstall(health=77)
    with rig.plug_in(unplug_after_bytes=int(total_bytes * share)) as cable:
        said = run_failing_tool("flash", *rig.flash_options(cable), "--no-start")
        assert cable.unplugged.is_set()
        assert cable.port in said and "try again" in said
    with rig.plug_in() as cable:
        run_tool("flash", *rig.flash_options(cable), "--no-start")
        assert json.loads((rig.filesystem / "config.json").read_text())["health"] == 77
        assert (rig.filesystem / "main.py").exists() and rig.flash.contains(fake_firmware("esp32"), 0x1000)


def test_pulled_out_while_it_is_written(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    with rig.plug_in(unplug_after_bytes=30000) as cable:
        said = run_failing_tool("flash", *rig.flash_options(cable), *rig.config_options)
        went = "the board was unplugged. Plug it in, then try again: its config is saved on this computer"
        assert (cable.port, went) == tuple(said.split(": ", 1))


# ---- what does not fit


def test_another_chip_is_left_alone(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    rig.flash.data[0:4] = b"kept"
    with rig.plug_in() as cable:
        other = Rig("esp32_c3", rig.folder / "files", rig.broker)
        said = run_failing_tool(
            "flash", "--board", "esp32_c3", "--port", cable.port, "--firmware", other.firmware_path
        )
        assert "the chip is ESP32" in said and "boards/esp32_c3 is for esp32c3" in said and "BOARD=" in said
        assert rig.flash.data[0:4] == b"kept"


@pytest.mark.parametrize(
    "key, wrong, words",
    [
        ("esp32", "esp32_s3", "ESP32 has the chip esp32"),
        ("esp32", "rpi_pico_w", "not a firmware image for ESP32 chips"),
        ("rpi_pico_w", "esp32", "not a UF2 file"),
        ("rpi_pico2_w", "rpi_pico_w", "has the chip rp2350"),
    ],
)
def test_firmware_of_another_chip_is_refused(
    key: str, wrong: str, words: str, make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig(key)
    file = tmp_path / "wrong"
    file.write_bytes(fake_firmware(wrong))
    with rig.plug_in() as cable:
        drive = ["--drive", str(rig.drive)] if rig.drive else []
        port = [] if rig.drive else ["--port", cable.port]
        said = run_failing_tool("flash", "--board", key, *port, "--firmware", file, *drive)
        assert words in said


def test_a_port_that_is_busy(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    with rig.plug_in() as cable, serial.Serial(cable.port, exclusive=True):
        for command in (
            ["flash", *rig.flash_options(cable)],
            ["deploy", "--board", "esp32", "--port", cable.port],
        ):
            said = run_failing_tool(*command)
            assert said.startswith(f"{cable.port}: ") and "another program" in said


def test_a_port_that_is_not_there() -> None:
    assert "/dev/ttyNONE: no such port" in run_failing_tool(
        "flash", "--board", "esp32", "--port", "/dev/ttyNONE"
    )


def test_a_board_that_there_is_not() -> None:
    said = run_failing_tool("flash", "--board", "esp33")
    assert said.startswith("BOARD=esp33: no such board. Choose one of esp32, ")


# ---- downloads


@pytest.fixture
def download_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
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


def test_a_corrupt_download_is_thrown_away(
    download_server: tuple[str, Path], make_rig: MakeRig, tmp_path: Path
) -> None:
    url, folder = download_server
    wanted = definition.load_board("esp32").firmware
    assert wanted
    (folder / wanted.file_name).write_bytes(b"\xe9 this is not what was published")
    rig = make_rig("esp32")
    cache = tmp_path / "cache"
    with rig.plug_in() as cable:
        options = ["--board", "esp32", "--port", cable.port, "--mirror", url]
        said = run_failing_tool("flash", *options, XDG_CACHE_HOME=str(cache))
        assert "it does not have the SHA-256 in board.toml" in said and "was deleted" in said
        assert not [path for path in cache.rglob("*") if path.is_file()]
        (folder / wanted.file_name).unlink()
        said = run_failing_tool("flash", *options, XDG_CACHE_HOME=str(cache))
        assert "404" in said and "FIRMWARE=" in said
        assert rig.flash.data.count(0xFF) == len(rig.flash.data)  # nothing was touched


def test_a_download_is_kept(
    download_server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = download_server
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    target = definition.load_board("esp32")
    assert target.firmware
    content = fake_firmware("esp32")
    target = replace(target, firmware=replace(target.firmware, sha256=sha256(content).hexdigest()))
    assert target.firmware
    (folder / target.firmware.file_name).write_bytes(content)
    number = esptool.chip_definition(target).IMAGE_CHIP_ID
    first = firmware.get_firmware(target, None, url, Console(quiet=True), number)
    assert first.read_bytes() == content
    (folder / target.firmware.file_name).unlink()
    assert firmware.get_firmware(target, None, url, Console(quiet=True), number) == first
    with pytest.raises(UserError, match="Check the network"):  # what was kept is checked, too
        first.write_bytes(content[:-1])
        firmware.get_firmware(target, None, "http://127.0.0.1:1/", Console(quiet=True), number)


def test_every_pinned_firmware_has_its_checksum() -> None:
    for key in definition.list_boards():
        pinned = definition.load_board(key).firmware
        assert pinned is None or re.fullmatch("[0-9a-f]{64}", pinned.sha256), key
