"""The drive that an RP2040 shows while its bootloader runs."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn

from tools.board.definition import Board
from tools.errors import UserError
from tools.progress import progress_bar

INFO_FILE = "INFO_UF2.TXT"
_NAMES = {"rp2040": ("RPI-RP2",), "rp2350": ("RP2350",)}
_PIECE = 32768


def _places(name: str) -> Iterator[Path]:
    """Where the systems mount a drive of this name."""
    user = getpass.getuser()
    for parent in (f"/media/{user}", f"/run/media/{user}", "/media", "/Volumes", "/mnt"):
        yield Path(parent) / name
    if os.name == "nt":
        for letter in "DEFGHIJKLMNOPQRSTUVWXYZ":
            yield Path(f"{letter}:/")


def drive_names(board: Board) -> tuple[str, ...]:
    """What the drive of a board is called."""
    return _NAMES[board.chip]


def find_drive(board: Board, mount_point: Path | None = None) -> Path | None:
    """The drive of a board in its bootloader, None where there is none."""
    places = (
        [mount_point] if mount_point else [place for name in _NAMES[board.chip] for place in _places(name)]
    )
    for place in places:
        try:
            text = (place / INFO_FILE).read_text(errors="replace")
        except OSError:
            continue
        if mount_point or any(name in text for name in _NAMES[board.chip]):
            return place
    return None


def wait_for_drive(board: Board, mount_point: Path | None, seconds: float) -> Path | None:
    """Wait for the drive."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        drive = find_drive(board, mount_point)
        if drive:
            return drive
        time.sleep(0.2)
    return None


def copy_firmware(board: Board, firmware: Path, drive: Path, console: Console, seconds: float = 60) -> None:
    """Copy the firmware, and wait until the board has taken it and the drive is gone. Raises UserError."""
    size = firmware.stat().st_size
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    try:
        with progress_bar(console, *columns) as progress, firmware.open("rb") as source:
            task = progress.add_task(f"copying to {drive}", total=size)
            with (drive / firmware.name).open("wb") as target:
                while piece := source.read(_PIECE):
                    target.write(piece)
                    progress.update(task, advance=len(piece))
                target.flush()
                os.fsync(target.fileno())
    except OSError as error:
        # the board may restart with the last block, before we are told that it is written
        if (drive / INFO_FILE).exists():
            raise UserError(
                f"{drive}: {error.strerror}: plug the board in with BOOTSEL held, and do it again"
            ) from error
    ends = time.monotonic() + seconds
    with console.status("the board takes it"):
        while (drive / INFO_FILE).exists():
            if time.monotonic() > ends:
                raise UserError(
                    f"{drive}: is still there: the board has not taken {firmware.name}; do it again"
                )
            time.sleep(0.1)
    console.print(f"{drive}: {firmware.name} taken", highlight=False)
