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
from tools.board import definition as board
from tools.board import esptool, firmware, mpremote, serial_ports, uf2
from tools.board.definition import Board
from tools.board.serial_console import Serial, show_first_lines
from tools.deploy import deploy
from tools.device_config import backup
from tools.errors import Problem
from tools.provision import Provision, Wishes

_BOOT = 60  # s: a first start formats the file system
_DRIVE = 20  # s


@dataclass
class Plan:
    """What `make flash` is to do."""

    board: Board
    port: str | None = None
    file: Path | None = None  # firmware, where it is not to be downloaded
    mirror: str = firmware.DOWNLOADS
    drive: Path | None = None
    baud: int = esptool.BAUD
    start: bool = True


def steps(plan: Plan) -> list[str]:
    """What each step will do, for people."""
    target = plan.board
    wanted = firmware.pinned(target)
    have = plan.file or firmware.cached(target)
    source = (
        f"take {have}" if have else f"download {plan.mirror.rstrip('/')}/{wanted.file}, check its SHA-256"
    )
    where = (
        plan.port
        or ", ".join(port.device for port in serial_ports.fitting(serial_ports.found(), target))
        or "none yet"
    )
    if wanted.format == "uf2":
        written = [
            "bring it into its bootloader, with mpremote, or by hand with BOOTSEL",
            f"copy {wanted.file} to its drive ({plan.drive or ' or '.join(uf2.drive_names(target))})",
        ]
    else:
        written = [
            f"check that the chip is an {target.chip}, keep its config",
            f"erase its flash, write {wanted.file} at {esptool.offset(target):#x}, verify, reset",
        ]
    return [
        f"find {target.name} (port: {where})",
        source,
        *written,
        "wait for MicroPython",
        "copy library and application, compiled; verify their hashes",
        "write config.json, asked for or as it was",
        "start it and show its first lines" if plan.start else "leave it stopped",
    ]


def run(plan: Plan, wishes: Wishes, console: Console) -> str:
    """All steps; returns the port that the board has in the end. Raises Problem."""
    target = plan.board
    port, before = _what_there_is(plan)
    is_esp = firmware.pinned(target).format == "bin"
    if is_esp and port is None:
        port = serial_ports.choose(None, target, console)  # raises: without a port nothing can be done
    file = firmware.get(
        target, plan.file, plan.mirror, console, esptool.chip_of(target).IMAGE_CHIP_ID if is_esp else None
    )
    unique_id = None
    if is_esp:
        assert port
        unique_id, before = _flash_esp(plan, port, file, before, console)
    else:
        _flash_uf2(plan, port, file, console)
    port = _wait_for_micropython(plan, port, console)
    deploy(port, target, console)
    before = before or provision.present(port)
    made = provision.make(before, wishes, target, console)
    provision.write(port, made, console)
    if unique_id:
        backup.forget(unique_id)
    if plan.start:
        show_first_lines(port, console)
    return port


def _what_there_is(plan: Plan) -> tuple[str | None, Provision | None]:
    """The port, None for a board that has none yet, and the config of a device that runs."""
    port = None
    if plan.port and not plan.drive:
        port = serial_ports.choose(plan.port, plan.board)
    elif plan.port and Path(plan.port).exists():
        port = plan.port
    elif serial_ports.fitting(serial_ports.found(), plan.board):
        port = serial_ports.choose(None, plan.board)
    return port, provision.present(port) if port else None


def _flash_esp(
    plan: Plan, port: str, file: Path, before: Provision | None, console: Console
) -> tuple[str, Provision | None]:
    """Returns the board's unique id, and the config that it had."""
    had: list[Provision | None] = [before]

    def about_to_erase(unique_id: str) -> None:
        if before:
            backup.keep(unique_id, before)
        else:
            had[0] = backup.kept(unique_id)
            if had[0]:
                console.print("its config was kept by an earlier run", highlight=False)
            else:
                console.print("no config can be read from it: a new one is made", highlight=False)

    unique_id = esptool.flash(port, plan.board, file, console, plan.baud, about_to_erase)
    return unique_id, had[0]


def _flash_uf2(plan: Plan, port: str | None, file: Path, console: Console) -> None:
    target = plan.board
    drive = uf2.find(target, plan.drive)
    if drive is None and port:
        console.print(f"{port}: asking MicroPython for its bootloader", highlight=False)
        try:
            mpremote.run(port, "bootloader", timeout=20)
        except Problem as problem:
            console.print(f"{problem}", highlight=False, markup=False)
        drive = uf2.wait(target, plan.drive, _DRIVE)
    if drive is None:
        console.print(f"hold BOOTSEL while you plug {target.name} in; waiting for its drive", highlight=False)
        drive = uf2.wait(target, plan.drive, _DRIVE * 3)
    if drive is None:
        names = " or ".join(uf2.drive_names(target))
        raise Problem(
            f"no drive {names}: unplug the board, hold BOOTSEL, plug it in, and do it again; where the drive "
            f"is mounted elsewhere, say DRIVE=folder"
        )
    uf2.flash(target, file, drive, console)


def _wait_for_micropython(plan: Plan, port: str | None, console: Console) -> str:
    """A board comes back with its file system made; some come back at another port."""
    ends = time.monotonic() + _BOOT
    last = "press its reset button, and do it again"
    with console.status("waiting for MicroPython"):
        while time.monotonic() < ends:
            try:
                there = serial_ports.choose(port or plan.port, plan.board)
                with Serial(there) as serial:
                    if serial.answers(1):
                        return there
            except Problem as problem:  # the port itself may come and go
                last = str(problem)
                time.sleep(0.3)
    raise Problem(f"MicroPython has not come within {_BOOT} s: {last}")


def main(
    board_key: Annotated[str, typer.Option("--board", help="a folder of boards/")],
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
    firmware_file: Annotated[
        Optional[Path], typer.Option("--firmware", help="MicroPython from this file, nothing is downloaded")
    ] = None,
    mirror: Annotated[str, typer.Option(help="where MicroPython is downloaded from")] = firmware.DOWNLOADS,
    drive: Annotated[
        Optional[Path], typer.Option(help="RP2040: where the drive of its bootloader is mounted")
    ] = None,
    baud: Annotated[
        int, typer.Option(help="ESP32: speed of writing; lower it for a bad cable")
    ] = esptool.BAUD,
    dry: Annotated[bool, typer.Option("--dry", help="print each step and do none")] = False,
    assign: Annotated[
        Optional[list[str]], typer.Option("--set", help="key=value of its config, such as wifi.ssid=home")
    ] = None,
    file: Annotated[Optional[Path], typer.Option(help="a config.json, whole or in part")] = None,
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
    plan = Plan(board.load(board_key), port, firmware_file, mirror, drive, baud, start)
    if dry:
        for number, step in enumerate(steps(plan), 1):
            console.print(f"{number}. {step}", highlight=False, markup=False)
        return
    run(plan, provision.wishes(assign, file, ca, cert, key, ask), console)
