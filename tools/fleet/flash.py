"""Flashes the boards of a fleet one after the other: waits for a board, flashes it, records it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Optional

from tools import flash
from tools.board import serial_ports
from tools.board.definition import Board
from tools.console import Console
from tools.errors import UserError
from tools.fleet.device_files import DeviceFiles
from tools.fleet.store import FleetStore
from tools.provision import ConfigOptions

_POLL_INTERVAL = 0.3  # seconds
# Config keys that the board may have from earlier use. They are deleted if the new config lacks them.
_OPTIONAL_KEYS = ("broker.port", "broker.user", "broker.password", "broker.keep_alive", "broker.tls")


def _flash_one(one: DeviceFiles, folder: Path, port: str, firmware: Optional[Path], console: Console) -> str:
    """Flash MicroPython, library, application and config. Returns the board's port after flashing."""
    config_options = ConfigOptions(
        config_file=folder / "config.json",
        assignments=[f"{key}=null" for key in _OPTIONAL_KEYS if not _has(one, key)],
        certificates={name.split(".")[0]: folder / name for name in one.certificates},
        ask=False,
        heap=one.heap,
    )
    options = flash.FlashOptions(one.target, port, firmware, start=False)
    return flash.flash_board(options, config_options, console)


def _has(one: DeviceFiles, key: str) -> bool:
    return key.split(".")[1] in one.config["broker"]


def select_devices(
    devices: list[DeviceFiles], store: FleetStore, only: list[str], reflash: bool
) -> list[DeviceFiles]:
    """Return the devices to flash: those never flashed, and those whose files have changed since.

    `only` limits them to these names, if it is not empty. `reflash` adds devices that are up to date.
    Raises UserError if a name is unknown.
    """
    names = {one.name for one in devices}
    for name in only:
        if store.is_revoked(name):
            raise UserError(f'{name} is revoked. To admit it again: make fleet ARGS="renew {name}"')
        if name not in names:
            raise UserError(f"{name} is not a device of this fleet. To list them: make fleet ARGS=list")
    chosen = [one for one in devices if not only or one.name in only]
    return [one for one in chosen if reflash or store.flashed_digest(one.name) != one.digest]


def flash_all(
    wanted: list[DeviceFiles],
    out: Path,
    store: FleetStore,
    port: Optional[str],
    firmware: Optional[Path],
    console: Console,
) -> None:
    """Flash a board for each device of `wanted`, in order.

    Each flashed device is recorded at once, so a later run can skip it. If flashing fails, the error is
    printed, and the next board is flashed with the files of the same device. `out` contains a folder of
    files for each device. `port` limits the search to one serial port. Raises UserError if the serial port
    of a board cannot be used.
    """
    for number, one in enumerate(wanted, 1):
        console.rule(f"{one.name} ({number} of {len(wanted)})")
        while True:
            board_port = _wait_for_board(one.target, port, console)
            try:
                board_port = _flash_one(one, out / one.name, board_port, firmware, console)
            except UserError as problem:
                console.print(str(problem), style="red")
                console.print(
                    f"{one.name} was not flashed. Unplug the board, then plug one in to try again",
                    highlight=False,
                )
                _wait_until_unplugged(board_port, console)
                continue
            store.record_flashed(one.name, one.digest, board_port)
            break
        # a text for a label on the device
        console.print(f"label: {one.name} · {one.target.name} · {one.config['broker']['host']}")
        if number < len(wanted):
            _wait_until_unplugged(board_port, console)


def _wait_for_board(target: Board, port: str | None, console: Console) -> str:
    """Wait until exactly one board is plugged in; returns its port."""
    with console.status(f"plug in the next board ({target.name})") as status:
        while True:
            ports = [port] if port and os.path.exists(port) else []
            if not port:
                ports = [
                    found.device for found in serial_ports.filter_by_board(serial_ports.find_ports(), target)
                ]
            if len(ports) == 1:
                return serial_ports.choose_port(ports[0], target)
            if ports:
                status.update(f"{len(ports)} boards are plugged in: unplug all but one")
            time.sleep(_POLL_INTERVAL)


def _wait_until_unplugged(port: str, console: Console) -> None:
    with console.status("unplug the board"):
        while os.path.exists(port):
            time.sleep(_POLL_INTERVAL)
