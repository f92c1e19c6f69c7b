"""Writes firmware to an RP2040 or RP2350: finds the drive of its UF2 bootloader and copies the file."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Iterator
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, TextColumn

from tools.board.definition import Board
from tools.console import Console
from tools.deadlines import DRIVE, DRIVE_COPY, call_within
from tools.errors import UserError
from tools.progress import progress_bar

INFO_FILE = "INFO_UF2.TXT"  # a file on every UF2 drive
_DRIVE_NAMES = {"rp2040": ("RPI-RP2",), "rp2350": ("RP2350",)}
_CHUNK = 32768  # bytes
_MAX_INFO = 4096  # bytes of INFO_FILE


def _mount_points(name: str) -> Iterator[Path]:
    """Yield the folders where Linux, macOS and Windows mount a drive with this name."""
    user = getpass.getuser()
    for parent in (f"/media/{user}", f"/run/media/{user}", "/media", "/Volumes", "/mnt"):
        yield Path(parent) / name
    if os.name == "nt":
        for letter in "DEFGHIJKLMNOPQRSTUVWXYZ":
            yield Path(f"{letter}:/")


def drive_names(board: Board) -> tuple[str, ...]:
    """Return the possible names of the drive of a board."""
    return _DRIVE_NAMES[board.chip]


def find_drive(board: Board, mount_point: Path | None = None) -> Path | None:
    """Return the drive of a board whose bootloader runs, or None. `mount_point` replaces the usual places."""
    names = drive_names(board)
    candidates = [mount_point] if mount_point else [path for name in names for path in _mount_points(name)]
    for path in candidates:
        if _read_board_id(path) in names:
            return path
    return None


def _read_board_id(drive: Path) -> str | None:
    """Return the Board-ID in the INFO_UF2.TXT of a UF2 bootloader, None if there is no such drive."""
    path = drive / INFO_FILE
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            text = file.read(_MAX_INFO).decode(errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "Board-ID":
            return value.strip()
    return "unknown"


def check_drive(board: Board, mount_point: Path | None) -> None:
    """Raise UserError if the drive that the user names is that of another bootloader."""
    found = _read_board_id(mount_point) if mount_point else None
    if found is not None and found not in drive_names(board):
        raise UserError(
            f"{mount_point}: the bootloader there says {found}, but {board.name} has {board.chip}, whose "
            f"bootloader says {' or '.join(drive_names(board))}. Nothing was changed. Choose the right drive "
            "with DRIVE=, or the right board with BOARD="
        )


def wait_for_drive(board: Board, mount_point: Path | None, seconds: float) -> Path | None:
    """Wait up to `seconds` for the drive. Return None if it does not appear.

    Raises UserError if the drive at `mount_point` is that of another bootloader.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check_drive(board, mount_point)
        drive = find_drive(board, mount_point)
        if drive:
            return drive
        time.sleep(0.2)
    return None


def copy_firmware(
    board: Board,
    firmware: Path,
    drive: Path,
    console: Console,
    seconds: float = DRIVE,
    seconds_to_copy: float = DRIVE_COPY,
) -> None:
    """Copy the firmware to the drive, and wait up to `seconds` until the board restarts. Raises UserError."""
    size = firmware.stat().st_size
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    if (drive / firmware.name).is_symlink():  # which no drive of a bootloader has
        raise UserError(f"{drive / firmware.name} is a symbolic link. Choose the right drive with DRIVE=")
    try:
        with progress_bar(console, *columns) as progress, firmware.open("rb") as source:
            task = progress.add_task(f"copying to {drive}", total=size)

            def copy() -> None:
                with (drive / firmware.name).open("wb") as target:
                    while chunk := source.read(_CHUNK):
                        target.write(chunk)
                        progress.update(task, advance=len(chunk))
                    target.flush()
                    os.fsync(target.fileno())

            call_within(
                seconds_to_copy,
                copy,
                f"{drive}: not finished within {seconds_to_copy:g} s while copying {firmware.name}. "
                "Hold BOOTSEL while you plug the board in, then try again",
            )
    except OSError as error:
        # a board that restarts right after the last block causes an error, too; its drive is gone then
        if (drive / INFO_FILE).exists():
            raise UserError(
                f"{drive}: cannot write the firmware: {error.strerror}. Hold BOOTSEL while you plug "
                "the board in, then try again"
            ) from error
    deadline = time.monotonic() + seconds
    with console.status("waiting for the board to restart"):
        while (drive / INFO_FILE).exists():
            if time.monotonic() > deadline:
                raise UserError(
                    f"{drive}: the board did not accept {firmware.name}: its drive is still there after "
                    f"{seconds:g} s. Try again"
                )
            time.sleep(0.1)
    console.print(f"{drive}: {firmware.name} installed")
