"""`make flash`: from a bare board to a running device.

Each step looks at what is there and does what is missing, so that a second run mends a first one
that was cut off at any of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from tools import provision
from tools.board import esptool, firmware, mpremote, serial_ports, uf2
from tools.board.definition import Board, load_board
from tools.board.serial_console import SerialConsole, show_startup
from tools.deploy import deploy
from tools.device_config import backup
from tools.errors import UserError
from tools.provision import ConfigOptions, DeviceConfig

_BOOT = 60  # s: a first start formats the file system
_DRIVE = 20  # s


@dataclass
class FlashOptions:
    """What `make flash` is to do."""

    board: Board
    port: str | None = None
    firmware_file: Path | None = None  # firmware, where it is not to be downloaded
    mirror: str = firmware.DOWNLOAD_URL
    drive: Path | None = None
    baud: int = esptool.DEFAULT_BAUD
    start: bool = True


def describe_steps(options: FlashOptions) -> list[str]:
    """What each step will do, for people."""
    target = options.board
    wanted = firmware.pinned_firmware(target)
    have = options.firmware_file or firmware.find_cached(target)
    source = (
        f"take {have}"
        if have
        else f"download {options.mirror.rstrip('/')}/{wanted.file_name}, check its SHA-256"
    )
    where = (
        options.port
        or ", ".join(port.device for port in serial_ports.filter_by_board(serial_ports.find_ports(), target))
        or "none yet"
    )
    if wanted.format == "uf2":
        written = [
            "bring it into its bootloader, with mpremote, or by hand with BOOTSEL",
            f"copy {wanted.file_name} to its drive ({options.drive or ' or '.join(uf2.drive_names(target))})",
        ]
    else:
        written = [
            f"check that the chip is an {target.chip}, keep its config",
            f"erase its flash, write {wanted.file_name} at {esptool.flash_offset(target):#x}, verify, reset",
        ]
    return [
        f"find {target.name} (port: {where})",
        source,
        *written,
        "wait for MicroPython",
        "copy library and application, compiled; verify their hashes",
        "write config.json, asked for or as it was",
        "start it and show its first lines" if options.start else "leave it stopped",
    ]


def flash_board(options: FlashOptions, config_options: ConfigOptions, console: Console) -> str:
    """All steps; returns the port that the board has in the end. Raises UserError."""
    target = options.board
    port, before = _find_port_and_config(options)
    is_esp = firmware.pinned_firmware(target).format == "bin"
    if is_esp and port is None:
        port = serial_ports.choose_port(None, target, console)  # raises: without a port nothing can be done
    file = firmware.get_firmware(
        target,
        options.firmware_file,
        options.mirror,
        console,
        esptool.chip_definition(target).IMAGE_CHIP_ID if is_esp else None,
    )
    unique_id = None
    if is_esp:
        assert port
        unique_id, before = _flash_esp(options, port, file, before, console)
    else:
        _flash_uf2(options, port, file, console)
    port = _wait_for_micropython(options, port, console)
    deploy(port, target, console)
    before = before or provision.read_config(port)
    made = provision.build_config(before, config_options, target, console)
    provision.write_config(port, made, console)
    if unique_id:
        backup.delete_backup(unique_id)
    if options.start:
        show_startup(port, console)
    return port


def _find_port_and_config(options: FlashOptions) -> tuple[str | None, DeviceConfig | None]:
    """The port, None for a board that has none yet, and the config of a device that runs."""
    port = None
    if options.port and not options.drive:
        port = serial_ports.choose_port(options.port, options.board)
    elif options.port and Path(options.port).exists():
        port = options.port
    elif serial_ports.filter_by_board(serial_ports.find_ports(), options.board):
        port = serial_ports.choose_port(None, options.board)
    return port, provision.read_config(port) if port else None


def _flash_esp(
    options: FlashOptions, port: str, file: Path, previous: DeviceConfig | None, console: Console
) -> tuple[str, DeviceConfig | None]:
    """Returns the board's unique id, and the config that it had."""
    had: list[DeviceConfig | None] = [previous]

    def about_to_erase(unique_id: str) -> None:
        if previous:
            backup.save_backup(unique_id, previous)
        else:
            had[0] = backup.load_backup(unique_id)
            if had[0]:
                console.print("its config was kept by an earlier run", highlight=False)
            else:
                console.print("no config can be read from it: a new one is made", highlight=False)

    unique_id = esptool.write_firmware(port, options.board, file, console, options.baud, about_to_erase)
    return unique_id, had[0]


def _flash_uf2(options: FlashOptions, port: str | None, file: Path, console: Console) -> None:
    target = options.board
    drive = uf2.find_drive(target, options.drive)
    if drive is None and port:
        console.print(f"{port}: asking MicroPython for its bootloader", highlight=False)
        try:
            mpremote.run(port, "bootloader", timeout=20)
        except UserError as problem:
            console.print(f"{problem}", highlight=False, markup=False)
        drive = uf2.wait_for_drive(target, options.drive, _DRIVE)
    if drive is None:
        console.print(f"hold BOOTSEL while you plug {target.name} in; waiting for its drive", highlight=False)
        drive = uf2.wait_for_drive(target, options.drive, _DRIVE * 3)
    if drive is None:
        names = " or ".join(uf2.drive_names(target))
        raise UserError(
            f"no drive {names}: unplug the board, hold BOOTSEL, plug it in, and do it again; where the drive "
            f"is mounted elsewhere, say DRIVE=folder"
        )
    uf2.copy_firmware(target, file, drive, console)


def _wait_for_micropython(options: FlashOptions, port: str | None, console: Console) -> str:
    """A board comes back with its file system made; some come back at another port."""
    ends = time.monotonic() + _BOOT
    last = "press its reset button, and do it again"
    with console.status("waiting for MicroPython"):
        while time.monotonic() < ends:
            try:
                there = serial_ports.choose_port(port or options.port, options.board)
                with SerialConsole(there) as serial:
                    if serial.wait_for_prompt(1):
                        return there
            except UserError as problem:  # the port itself may come and go
                last = str(problem)
                time.sleep(0.3)
    raise UserError(f"MicroPython has not come within {_BOOT} s: {last}")


def main(
    board_key: Annotated[str, typer.Option("--board", help="a folder of boards/")],
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
    firmware_file: Annotated[
        Optional[Path], typer.Option("--firmware", help="MicroPython from this file, nothing is downloaded")
    ] = None,
    mirror: Annotated[str, typer.Option(help="where MicroPython is downloaded from")] = firmware.DOWNLOAD_URL,
    drive: Annotated[
        Optional[Path], typer.Option(help="RP2040: where the drive of its bootloader is mounted")
    ] = None,
    baud: Annotated[
        int, typer.Option(help="ESP32: speed of writing; lower it for a bad cable")
    ] = esptool.DEFAULT_BAUD,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print each step and do none")] = False,
    assignments: Annotated[
        Optional[list[str]], typer.Option("--set", help="key=value of its config, such as wifi.ssid=home")
    ] = None,
    config_file: Annotated[
        Optional[Path], typer.Option("--config", help="a config.json, whole or in part")
    ] = None,
    ca: Annotated[Optional[Path], typer.Option(help="TLS: who signed the broker's certificate")] = None,
    cert: Annotated[Optional[Path], typer.Option(help="TLS: the device's own certificate")] = None,
    key: Annotated[Optional[Path], typer.Option(help="TLS: the private key of it")] = None,
    ask: Annotated[bool, typer.Option(help="ask for what is missing, in a terminal")] = True,
    start: Annotated[bool, typer.Option(help="start the application, and show its first lines")] = True,
) -> None:
    """A board with MicroPython, library, application and config: everything, in one go.

    What it has is kept: run it again to mend a run that was cut off, or to bring a device to a new
    MicroPython.
    """
    console = Console(soft_wrap=True)
    plan = FlashOptions(load_board(board_key), port, firmware_file, mirror, drive, baud, start)
    if dry_run:
        for number, step in enumerate(describe_steps(plan), 1):
            console.print(f"{number}. {step}", highlight=False, markup=False)
        return
    flash_board(plan, provision.parse_options(assignments, config_file, ca, cert, key, ask), console)
