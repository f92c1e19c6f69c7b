"""`make flash` with the real esptool and mpremote on a simulated board: ROM bootloader, UF2 drive, REPL."""

from __future__ import annotations

import contextlib
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
from host_tests.board.simulated_board import SimulatedBoard
from host_tests.device.observer import observe
from tools import flash
from tools.board import definition, esptool, firmware, identity, mpremote
from tools.broker import Address
from tools.errors import UserError

ESP32 = ("esp32", "esp32_s3", "esp32_c3")
MakeRig = Callable[[str], Rig]


@pytest.mark.parametrize("key", ["esp32", "rpi_pico_w"])
def test_make_flash_turns_an_empty_board_into_a_connected_device(key: str, make_rig: MakeRig) -> None:
    rig = make_rig(key)
    with rig.plug_in() as board, observe(rig.broker) as observer:
        make = ["make", "-s", "flash", f"BOARD={key}", f"PORT={board.port}", f"FIRMWARE={rig.firmware_path}"]
        if rig.drive:
            make.append(f"DRIVE={rig.drive}")
        output = run_command([*make, "ARGS=" + " ".join(f"'{word}'" for word in rig.config_options)])
        assert "dut: connected to" in output  # flash prints the first lines of the device
        assert SECRET not in output
        observer.wait_until(lambda: observer.dut.status == "online" and observer.dut.readings)
        assert board.runs_micropython


@pytest.mark.parametrize("key", ESP32)
def test_the_flash_is_erased_and_the_firmware_written_at_the_offset_of_the_chip(
    key: str, make_rig: MakeRig
) -> None:
    rig = make_rig(key)
    rig.flash.data[0x200000:0x200010] = b"previous content"
    with rig.plug_in() as board:
        run_tool("flash", *rig.flash_options(board), *rig.config_options, "--no-start")
        content = fake_firmware(key)
        offset = {"esp32": 0x1000, "esp32_s3": 0, "esp32_c3": 0}[key]
        assert rig.flash.data[offset : offset + len(content)] == content
        assert rig.flash.data[0x200008] == 0xFF  # this byte was erased


def test_flashing_again_preserves_the_config(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    rig.preinstall(health=8)
    with rig.plug_in() as board:
        run_tool("flash", *rig.flash_options(board), "--no-start")
        assert json.loads((rig.filesystem / "config.json").read_text())["health"] == 8


def test_a_running_pico_is_restarted_into_its_bootloader(make_rig: MakeRig) -> None:
    rig = make_rig("rpi_pico_w")
    with rig.plug_in() as board:
        run_tool("flash", *rig.flash_options(board), *rig.config_options, "--no-start")
        output = run_tool("flash", *rig.flash_options(board), "--no-start")
        assert "asking MicroPython to start the bootloader" in output
        assert f"{rig.firmware_path.name} installed" in output


def test_dry_run_prints_the_steps_and_changes_nothing(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    with rig.plug_in() as board:
        output = run_tool("flash", *rig.flash_options(board), "--dry-run")
        assert re.findall(r"^\d\. ", output, re.MULTILINE) == [f"{n}. " for n in range(1, 9)]
        assert "0x1000" in output
        assert board.received == 0 and not list(rig.filesystem.iterdir())


# ---- interrupted runs


@pytest.fixture(scope="module")
def total_bytes(tmp_path_factory: pytest.TempPathFactory, address: Address) -> int:
    """The number of bytes that `flash` sends to a board on which the device application is installed."""
    rig = Rig("esp32", tmp_path_factory.mktemp("total"), address)
    rig.preinstall()
    with rig.plug_in() as board:
        run_tool("flash", *rig.flash_options(board), "--no-start")
        return board.received


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.8, 0.97])
def test_a_second_run_completes_an_interrupted_one(share: float, make_rig: MakeRig, total_bytes: int) -> None:
    rig = make_rig("esp32")
    rig.preinstall(health=77)
    with rig.plug_in(unplug_after_bytes=int(total_bytes * share)) as board:
        output = run_failing_tool("flash", *rig.flash_options(board), "--no-start")
        assert board.unplugged.is_set()
        assert board.port in output and "try again" in output
    with rig.plug_in() as board:
        run_tool("flash", *rig.flash_options(board), "--no-start")
        assert json.loads((rig.filesystem / "config.json").read_text())["health"] == 77
        assert (rig.filesystem / "main.py").exists() and rig.flash.contains(fake_firmware("esp32"), 0x1000)


def test_unplugging_during_the_write_is_reported_with_what_to_do_next(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    with rig.plug_in(unplug_after_bytes=30000) as board:
        output = run_failing_tool("flash", *rig.flash_options(board), *rig.config_options)
        expected = "the board was unplugged. Plug it in, then try again: make flash restores its saved config"
        assert (board.port, expected) == tuple(output.split(": ", 1))


# ---- wrong chip, firmware, port or board


def test_a_board_with_another_chip_is_not_changed(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    rig.flash.data[0:4] = b"kept"
    with rig.plug_in() as board:
        other = Rig("esp32_c3", rig.folder / "files", rig.broker)
        output = run_failing_tool(
            "flash", "--board", "esp32_c3", "--port", board.port, "--firmware", other.firmware_path
        )
        assert (
            "the chip is ESP32" in output
            and "boards/esp32_c3 is for esp32c3" in output
            and "BOARD=" in output
        )
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
    with rig.plug_in() as board:
        drive = ["--drive", str(rig.drive)] if rig.drive else []
        port = [] if rig.drive else ["--port", board.port]
        output = run_failing_tool("flash", "--board", key, *port, "--firmware", file, *drive)
        assert words in output


def test_a_busy_port_is_reported(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    with rig.plug_in() as board, serial.Serial(board.port, exclusive=True):
        for command in (
            ["flash", *rig.flash_options(board)],
            ["deploy", "--board", "esp32", "--port", board.port],
        ):
            output = run_failing_tool(*command)
            assert output.startswith(f"{board.port}: ") and "another program" in output


def test_a_missing_port_is_reported() -> None:
    assert "/dev/ttyNONE: no such port" in run_failing_tool(
        "flash", "--board", "esp32", "--port", "/dev/ttyNONE"
    )


def test_an_unknown_board_is_reported_with_the_known_boards() -> None:
    output = run_failing_tool("flash", "--board", "esp33")
    assert output.startswith("BOARD=esp33: no such board. Choose one of esp32, ")


# ---- downloads


@pytest.fixture
def download_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTP server for firmware: its URL and its folder."""
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


def test_a_corrupt_download_is_deleted_and_not_written(
    download_server: tuple[str, Path], make_rig: MakeRig, tmp_path: Path
) -> None:
    url, folder = download_server
    pinned = definition.load_board("esp32").firmware
    assert pinned
    (folder / pinned.file_name).write_bytes(b"\xe9 this is not the published firmware")
    rig = make_rig("esp32")
    cache = tmp_path / "cache"
    with rig.plug_in() as board:
        options = ["--board", "esp32", "--port", board.port, "--mirror", url]
        output = run_failing_tool("flash", *options, XDG_CACHE_HOME=str(cache))
        assert "it does not have the SHA-256 in board.toml" in output and "was deleted" in output
        assert not [path for path in cache.rglob("*") if path.is_file()]
        (folder / pinned.file_name).unlink()
        output = run_failing_tool("flash", *options, XDG_CACHE_HOME=str(cache))
        assert "404" in output and "FIRMWARE=" in output
        assert rig.flash.data.count(0xFF) == len(rig.flash.data)  # nothing was written or erased


def test_a_download_is_cached_and_checked_again(
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
    with pytest.raises(UserError, match="Check the network"):  # the hash of a cached file is checked too
        first.write_bytes(content[:-1])
        firmware.get_firmware(target, None, "http://127.0.0.1:1/", Console(quiet=True), number)


def test_every_pinned_firmware_has_a_sha256() -> None:
    for key in definition.list_boards():
        pinned = definition.load_board(key).firmware
        assert pinned is None or re.fullmatch("[0-9a-f]{64}", pinned.sha256), key


# ---- another board than the one that the user names


@pytest.mark.parametrize(
    "info, found",
    [
        ("UF2 Bootloader v1.0\nModel: Raspberry Pi RP2350\nBoard-ID: RP2350\n", "RP2350"),
        # an Adafruit board; its text has the name of the drive of a Pico in another line
        (
            "UF2 Bootloader v3.15.0\nModel: like RPI-RP2\nBoard-ID: SAMD51J19A-Metro-v0\n",
            "SAMD51J19A-Metro-v0",
        ),
        ("Board-ID:RPI-RP2-other\r\n", "RPI-RP2-other"),
        ("nothing\n\xff\0", "unknown"),
    ],
)
def test_the_drive_of_another_bootloader_is_not_written(
    info: str, found: str, make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig("rpi_pico_w")
    drive = tmp_path / "other"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_bytes(info.encode("latin-1"))
    output = run_failing_tool(
        *("flash", "--board", "rpi_pico_w", "--firmware", rig.firmware_path, "--drive", drive)
    )
    assert f"the bootloader there says {found}, but " in output and "DRIVE=" in output and "BOARD=" in output
    assert [path.name for path in drive.iterdir()] == ["INFO_UF2.TXT"]


def test_a_board_in_its_bootloader_and_another_one_at_the_port_are_not_mixed_up(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig("rpi_pico_w")
    other = Rig("rpi_pico_w", tmp_path / "other", rig.broker)
    with SimulatedBoard(other.filesystem) as running, rig.plug_in():
        assert rig.drive
        output = run_failing_tool(
            *("flash", "--board", "rpi_pico_w", "--port", running.port, "--drive", rig.drive),
            *("--firmware", rig.firmware_path, *rig.config_options),
        )
        assert "Two boards are plugged in" in output and running.port in output and str(rig.drive) in output
        assert [path.name for path in rig.drive.iterdir()] == ["INFO_UF2.TXT"]
        assert not (other.filesystem / "config.json").exists()


def test_a_running_board_of_another_family_is_not_changed(make_rig: MakeRig) -> None:
    rig = make_rig("esp32")
    rig.preinstall()
    files = [path for path in rig.filesystem.rglob("*") if path.is_file()]
    before = [path.read_bytes() for path in files]
    pico = make_rig("rpi_pico_w")
    with rig.plug_in() as board:
        output = run_failing_tool(
            *("flash", "--board", "rpi_pico_w", "--port", board.port, "--firmware", pico.firmware_path)
        )
    assert "runs on esp32, but boards/rpi_pico_w is a board with rp2" in output
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize("chip", ["rp2040", "rp2350"])
def test_a_running_board_with_the_micropython_of_another_one_is_confirmed_or_refused(
    chip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, other = definition.load_board("rpi_pico_w"), definition.load_board("rpi_pico2_w")
    boards = {"rpi_pico_w": target, "rpi_pico2_w": replace(other, chip=chip)}
    monkeypatch.setattr(identity, "list_boards", lambda: list(boards))
    monkeypatch.setattr(identity, "load_board", boards.__getitem__)
    monkeypatch.setattr(mpremote, "run", lambda *words, **options: "board rp2 RPI_PICO2_W\n")
    options = flash.FlashOptions(target, "port")
    with pytest.raises(UserError, match="boards/rpi_pico2_w.*Nothing was changed"):
        flash._check_running_board("port", options)
    is_same_chip = chip == target.chip
    with contextlib.nullcontext() if is_same_chip else pytest.raises(UserError, match="Its chip is rp2350"):
        flash._check_running_board("port", replace(options, change_board=True))
    monkeypatch.setattr(mpremote, "run", lambda *words, **options: "board rp2 SOME_OTHER_BUILD\n")
    flash._check_running_board("port", options)
