"""The command `flash`: installs MicroPython, the library, the application and the config on a board.

MicroPython and the config are written in every run. Of the library and the application, only the files that
differ are copied. To complete a run that was interrupted, run the command again.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import typer

from tools import deadlines, provision
from tools.board import esptool, firmware, mpremote, serial_ports, uf2
from tools.board.definition import Board, load_board
from tools.board.identity import SCRIPT as IDENTITY_SCRIPT
from tools.board.identity import find_other_board
from tools.board.serial_console import SerialConsole, show_startup
from tools.console import Console
from tools.deploy import deploy
from tools.device_config import backup
from tools.device_config.device import BoardSilentError, DeviceConfig, read_config
from tools.errors import UserError
from tools.heap.estimate import choose_heap
from tools.options import (
    Ask,
    BoardKey,
    CaFile,
    CertFile,
    ConfigFile,
    Heap,
    KeyFile,
    NewConfig,
    Port,
    SetEnv,
    SetFile,
    Start,
)
from tools.provision import ConfigOptions


@dataclass
class FlashOptions:
    """Options of `make flash`, except those of the config."""

    board: Board
    port: str | None = None
    firmware_file: Path | None = None  # MicroPython firmware to use instead of a download
    mirror: str = firmware.DOWNLOAD_URL
    drive: Path | None = None  # mount point of the UF2 drive
    baud: int = esptool.DEFAULT_BAUD
    start: bool = True  # whether to start the application at the end
    new_config: bool = False  # whether to ignore the config on the board
    change_board: bool = False  # whether the MicroPython on the board may be that of another board


def describe_steps(options: FlashOptions) -> list[str]:
    """Return a description of each step, for --dry-run."""
    board = options.board
    pinned = firmware.pinned_firmware(board)
    file = options.firmware_file or firmware.find_cached(board)
    url = f"{options.mirror.rstrip('/')}/{pinned.file_name}"
    source = f"use {file}" if file else f"download {url}, check its SHA-256"
    candidates = serial_ports.filter_by_board(serial_ports.find_ports(), board)
    port = options.port or ", ".join(one.device for one in candidates) or "none yet"
    if pinned.format == "uf2":
        drive = options.drive or " or ".join(uf2.drive_names(board))
        write = [
            "start the bootloader, with mpremote, or by hand with BOOTSEL",
            f"copy {pinned.file_name} to its drive ({drive})",
        ]
    else:
        offset = f"{esptool.flash_offset(board):#x}"
        write = [
            f"check that the chip is an {board.chip}, save the config of the device",
            f"erase the flash, write {pinned.file_name} at {offset}, verify it, reset the board",
        ]
    return [
        f"find {board.name} (port: {port})",
        source,
        *write,
        "wait for MicroPython",
        "copy library and application, compiled, and verify their hashes",
        "write config.json: the saved one, with your changes and answers",
        "start the application and show its first lines"
        if options.start
        else "leave the application stopped",
    ]


def flash_board(options: FlashOptions, config_options: ConfigOptions, console: Console) -> str:
    """Run all steps. Return the port of the board, which may have changed. Raises UserError."""
    board = options.board
    found = _find_board(options)
    port, previous = found.port, found.config
    is_esp32 = firmware.pinned_firmware(board).format == "bin"
    if is_esp32 and port is None:
        port = serial_ports.choose_port(None, board, console)  # raises UserError: esptool needs a port
    chip_id = esptool.chip_definition(board).IMAGE_CHIP_ID if is_esp32 else None
    file = firmware.get_firmware(board, options.firmware_file, options.mirror, console, chip_id)
    unique_id = None
    if is_esp32:
        assert port
        unique_id, previous = _flash_esp32(options, port, file, found, console)
    else:
        _flash_uf2(options, port, file, console)
    port = _wait_for_micropython(options, port, console, found.other_ports)
    plan = deploy(port, board, console)
    if previous is None and not options.new_config:
        previous = read_config(port)
    config_options.heap = config_options.heap or choose_heap(board, plan.heap)
    with deadlines.current().paused():  # it asks the user
        device = provision.build_config(previous, config_options, board, console)
    provision.write_config(port, device, console)
    if unique_id:
        backup.delete_backup(unique_id)
    if options.start:
        show_startup(port, console)
    return port


@dataclass
class FoundBoard:
    """A board before it is flashed. `port` and `config` are None if they are not found."""

    port: str | None
    config: DeviceConfig | None = None
    has_answered: bool = False  # whether MicroPython has answered, so that `config` is the whole truth
    other_ports: tuple[str, ...] = ()  # ports of other boards, if the board is in its UF2 bootloader


def _find_board(options: FlashOptions) -> FoundBoard:
    """Find the port of the board, and the config on it.

    Raises UserError if there is a config that cannot be read, because it would be lost, or if the port or the
    drive is that of another board.
    """
    port = None
    if firmware.pinned_firmware(options.board).format == "uf2":
        uf2.check_drive(options.board, options.drive)
        drive = uf2.find_drive(options.board, options.drive)
        if drive:  # the board has no port now, so that each port is that of another board
            if options.port and Path(options.port).exists():
                raise UserError(
                    f"Two boards are plugged in: one at {options.port}, and one in its bootloader at "
                    f"{drive}. Nothing was changed. Unplug the other board, then try again"
                )
            return FoundBoard(None, other_ports=tuple(one.device for one in serial_ports.find_ports()))
    if options.port and not options.drive:
        port = serial_ports.choose_port(options.port, options.board)
    elif options.port and Path(options.port).exists():
        port = options.port
    elif serial_ports.filter_by_board(serial_ports.find_ports(), options.board):
        port = serial_ports.choose_port(None, options.board)
    if port is None or options.new_config:
        return FoundBoard(port)
    try:
        config = read_config(port)
        _check_running_board(port, options)
        return FoundBoard(port, config, True)
    except BoardSilentError:  # it may have no MicroPython yet; `_flash_esp32` checks that nothing is lost
        return FoundBoard(port)


def _check_running_board(port: str, options: FlashOptions) -> None:
    """Raise UserError if the MicroPython on the board is not that of the board to flash.

    The user may confirm that it is: somebody may have installed a wrong MicroPython.
    """
    output = mpremote.run(port, "resume", "run", str(IDENTITY_SCRIPT), timeout=deadlines.IDENTIFY)
    other = find_other_board(output, port, options.board)
    if other is None:
        return
    text = f"{port}: the MicroPython there was built for {other.name} (boards/{other.key})."
    if other.chip != options.board.chip:
        raise UserError(
            f"{text} Its chip is {other.chip}, not {options.board.chip}. Nothing was changed. "
            "Choose another port with PORT=, or the right board with BOARD="
        )
    if options.change_board:
        return
    with deadlines.current().paused():
        question = f"{text} Is it a {options.board.name} nevertheless?"
        is_confirmed = sys.stdin.isatty() and typer.confirm(question)
    if not is_confirmed:
        raise UserError(
            f"{text} Nothing was changed. Choose BOARD={other.key}, or another port with PORT=. If it is a "
            f"{options.board.name} with a wrong MicroPython, add --change-board"
        )


def _flash_esp32(
    options: FlashOptions, port: str, file: Path, found: FoundBoard, console: Console
) -> tuple[str, DeviceConfig | None]:
    """Write the firmware with esptool. Return the unique id of the chip, and the previous config."""
    config = found.config

    def save_config(unique_id: str, is_blank: bool) -> None:
        nonlocal config
        if config is None and not options.new_config:
            config = backup.load_backup(unique_id)
            if config is None and not is_blank and not found.has_answered:
                _confirm_new_config(port)
            elif config and config.config:
                console.print(f"{port}: using the config that an earlier run saved")
        config = config or DeviceConfig({})
        backup.save_backup(unique_id, config)
        if not config.config:
            console.print(f"{port}: no config on the board, so a new one is created")

    unique_id = esptool.write_firmware(port, options.board, file, console, options.baud, save_config)
    return unique_id, config if config and config.config else None


def _confirm_new_config(port: str) -> None:
    """Ask whether a board that has content and does not answer may lose its config. Raises UserError."""
    text = f"{port}: the board does not answer, and its flash is not empty. A config on it would be lost."
    with deadlines.current().paused():
        is_confirmed = sys.stdin.isatty() and typer.confirm(f"{text} Continue with a new config?")
    if not is_confirmed:
        raise UserError(
            f"{text} Nothing was changed. Press its reset button, then try again. "
            "If it has no config that you need, add --new-config"
        )


def _flash_uf2(options: FlashOptions, port: str | None, file: Path, console: Console) -> None:
    """Start the UF2 bootloader of the board, and copy the firmware to its drive."""
    board = options.board
    drive = uf2.find_drive(board, options.drive)
    if drive is None and port:
        console.print(f"{port}: asking MicroPython to start the bootloader")
        try:
            mpremote.run(port, "bootloader", timeout=deadlines.BOOTLOADER_REQUEST)
        except UserError as error:
            console.print(str(error))
        drive = uf2.wait_for_drive(board, options.drive, deadlines.BOOTLOADER_REQUEST)
    if drive is None:
        console.print(f"Hold BOOTSEL while you plug {board.name} in. Waiting for its drive ...")
        drive = uf2.wait_for_drive(board, options.drive, deadlines.DRIVE)
    if drive is None:
        names = " or ".join(uf2.drive_names(board))
        raise UserError(
            f"Drive {names} not found. Unplug the board, hold BOOTSEL, plug it in, then try again. "
            "If the drive is mounted in another place, add DRIVE=folder"
        )
    uf2.copy_firmware(board, file, drive, console)


def _wait_for_micropython(
    options: FlashOptions, port: str | None, console: Console, other_ports: tuple[str, ...] = ()
) -> str:
    """Wait until MicroPython has formatted its file system and answers. Return its port, which may be new.

    `other_ports` are not considered.
    """
    deadline = time.monotonic() + deadlines.START
    last_error = "Press the board's reset button, then try again"
    with console.status("waiting for MicroPython"):
        while time.monotonic() < deadline:
            try:
                candidate = serial_ports.choose_port(
                    port or options.port, options.board, other_ports=other_ports
                )
                with SerialConsole(candidate) as serial_console:
                    if serial_console.wait_for_prompt(1):
                        return candidate
            except UserError as error:  # the port disappears while the board restarts
                last_error = str(error)
                time.sleep(0.3)
    raise UserError(f"MicroPython did not start within {deadlines.START:g} s. {last_error}")


def main(
    board_key: BoardKey,
    port: Port = None,
    firmware_file: Annotated[
        Optional[Path], typer.Option("--firmware", help="MicroPython firmware file; default: download it")
    ] = None,
    mirror: Annotated[
        str, typer.Option(help="base URL for the download of MicroPython")
    ] = firmware.DOWNLOAD_URL,
    drive: Annotated[
        Optional[Path], typer.Option(help="RP2040, RP2350: mount point of the bootloader's drive")
    ] = None,
    baud: Annotated[
        int, typer.Option(help="ESP32: baud rate for writing; lower it if the cable is bad")
    ] = esptool.DEFAULT_BAUD,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the steps, change nothing")] = False,
    assignments: Annotated[
        Optional[list[str]], typer.Option("--set", help="key=value for the config, such as wifi.ssid=home")
    ] = None,
    from_files: SetFile = None,
    from_variables: SetEnv = None,
    config_file: ConfigFile = None,
    ca: CaFile = None,
    cert: CertFile = None,
    key: KeyFile = None,
    ask: Ask = True,
    heap: Heap = None,
    start: Start = True,
    new_config: NewConfig = False,
    change_board: Annotated[
        bool, typer.Option("--change-board", help="the MicroPython on the board is that of another board")
    ] = False,
) -> None:
    """Install MicroPython, library, application and config on a board.

    A device keeps its config. Run the command again if it was interrupted, or to update MicroPython.
    """
    console = Console(soft_wrap=True)
    options = FlashOptions(
        load_board(board_key), port, firmware_file, mirror, drive, baud, start, new_config, change_board
    )
    if dry_run:
        for number, step in enumerate(describe_steps(options), 1):
            console.print(f"{number}. {step}")
        return
    config_options = provision.parse_options(
        assignments, config_file, ca, cert, key, ask, heap, from_files, from_variables
    )
    flash_board(options, config_options, console)
