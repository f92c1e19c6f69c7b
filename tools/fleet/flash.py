"""One board after the other: plugged in, made the next device of the fleet, pulled out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from rich.console import Console

from tools import flash
from tools.board import serial_ports
from tools.board.definition import Board
from tools.errors import UserError
from tools.fleet.device_files import DeviceFiles
from tools.fleet.store import FleetStore
from tools.provision import ConfigOptions

_LOOK = 0.3  # s
# what a device may have of an earlier life, and this one may not
_OPTIONAL = ("broker.port", "broker.user", "broker.password", "broker.keep_alive", "broker.tls")


def _flash_one(one: DeviceFiles, folder: Path, port: str, firmware: Optional[Path], console: Console) -> str:
    """Everything onto one board: MicroPython, library, application, config. Returns its port."""
    wishes = ConfigOptions(
        config_file=folder / "config.json",
        assignments=[f"{key}=null" for key in _OPTIONAL if not _has(one, key)],
        certificates={name.split(".")[0]: folder / name for name in one.certificates},
        ask=False,
    )
    return flash.flash_board(flash.FlashOptions(one.target, port, firmware, start=False), wishes, console)


def _has(one: DeviceFiles, key: str) -> bool:
    return key.split(".")[1] in one.config["broker"]


def select_devices(
    devices: list[DeviceFiles], store: FleetStore, only: list[str], reflash: bool
) -> list[DeviceFiles]:
    """Who is next: those never flashed, or flashed with other files than they have now."""
    names = {one.name for one in devices}
    for name in only:
        if name not in names:
            raise UserError(f"{name}: no device of this fleet: `make fleet ARGS=list` shows them")
    chosen = [one for one in devices if not only or one.name in only]
    return [one for one in chosen if reflash or store.flashed_digest(one.name) != one.digest]


def flash_all(
    wanted: list[DeviceFiles],
    out: Path,
    store: FleetStore,
    port: Optional[str],
    firmware: Optional[Path],
    console: Console,
    flash_one: Callable[[DeviceFiles, Path, str, Optional[Path], Console], str] = _flash_one,
) -> None:
    """Each in turn. What was flashed is noted at once, so that a later run goes on behind it.

    A board that fails is said, and the next one that is plugged in gets its device. Raises UserError
    only where no board can help.
    """
    for number, one in enumerate(wanted, 1):
        console.rule(f"{one.name} ({number} of {len(wanted)})")
        while True:
            there = _wait_for_board(one.target, port, console)
            try:
                there = flash_one(one, out / one.name, there, firmware, console)
            except UserError as problem:
                console.print(str(problem), style="red", markup=False, highlight=False)
                console.print(f"{one.name} is not done: pull the board out, and plug one in again")
                _wait_until_gone(there, console)
                continue
            store.record_flashed(one.name, one.digest, there)
            break
        # to be printed, or copied by hand, onto the device
        console.print(
            f"label: {one.name} · {one.target.name} · {one.config['broker']['host']}", highlight=False
        )
        if number < len(wanted):
            _wait_until_gone(there, console)


def _wait_for_board(target: Board, port: str | None, console: Console) -> str:
    with console.status(f"plug in the next {target.name}") as status:
        while True:
            there = [port] if port and os.path.exists(port) else []
            if not port:
                there = [
                    found.device for found in serial_ports.filter_by_board(serial_ports.find_ports(), target)
                ]
            if len(there) == 1:
                return serial_ports.choose_port(there[0], target)
            if there:
                status.update(f"{len(there)} boards: leave one of them in")
            time.sleep(_LOOK)


def _wait_until_gone(port: str, console: Console) -> None:
    with console.status("pull it out"):
        while os.path.exists(port):
            time.sleep(_LOOK)
