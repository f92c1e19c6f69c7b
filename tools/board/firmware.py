"""MicroPython's firmware of the pinned version: in a cache, with its SHA-256 checked."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pooch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tools.board.definition import Board, FirmwareFile
from tools.errors import UserError
from tools.progress import progress_bar

DOWNLOAD_URL = "https://micropython.org/resources/firmware/"
_ESP_IMAGE = 0xE9
_UF2 = bytes.fromhex("5546320a 57515d9e")
# the family of a UF2 file's blocks, by chip
_FAMILIES = {"rp2040": 0xE48BFF56, "rp2350": 0xE48BFF59}


def cache_folder() -> Path:
    """Where downloads are kept."""
    return Path(pooch.os_cache("umqtt5"))


def pinned_firmware(board: Board) -> FirmwareFile:
    """Raises UserError for a board that takes no firmware."""
    if board.firmware is None:
        raise UserError(f"{board.name} takes no firmware: `make demo` runs it")
    return board.firmware


def find_cached(board: Board) -> Path | None:
    """The file where it was downloaded already."""
    path = cache_folder() / pinned_firmware(board).file_name
    return path if path.is_file() else None


def matches_checksum(board: Board, path: Path) -> bool:
    """Whether a file is the pinned firmware."""
    return hashlib.sha256(path.read_bytes()).hexdigest() == pinned_firmware(board).sha256


class _Bar:
    """What pooch wants of a progress bar."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=None)

    @property
    def total(self) -> int:
        return int(self._progress.tasks[self._task].total or 0)

    @total.setter
    def total(self, size: int) -> None:
        self._progress.update(self._task, total=size)

    def update(self, size: int) -> None:
        self._progress.update(self._task, advance=size)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        pass


def get_firmware(board: Board, file: Path | None, mirror: str, console: Console, chip_id: int | None) -> Path:
    """The firmware file for a board: `given`, or out of the cache, or downloaded.

    `image_chip` is the number of the chip in the header of an ESP image. Raises UserError where there
    is none, where it is corrupt, or made for another chip.
    """
    wanted = pinned_firmware(board)
    if file:
        if not file.is_file():
            raise UserError(f"FIRMWARE={file}: there is no such file")
        path = file
        if not matches_checksum(board, path):
            console.print(
                f"{path}: not the pinned {wanted.file_name}: taken, because you say so", highlight=False
            )
    else:
        path = _download(wanted, mirror, console)
    _check(path, board, chip_id)
    return path


def _download(wanted: FirmwareFile, mirror: str, console: Console) -> Path:
    url = mirror.rstrip("/") + "/" + wanted.file_name
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    by_hand = f"or get {wanted.file_name} by other means and say FIRMWARE=..."
    pooch.get_logger().setLevel("ERROR")
    os.makedirs(cache_folder(), exist_ok=True)
    with progress_bar(console, *columns) as progress:
        downloader: Any = pooch.HTTPDownloader(progressbar=_Bar(progress, wanted.file_name), timeout=30)
        try:
            found = pooch.retrieve(
                url,
                "sha256:" + wanted.sha256,
                fname=wanted.file_name,
                path=cache_folder(),
                downloader=downloader,
            )
        except ValueError as error:
            raise UserError(
                f"{url}: not what the SHA-256 in board.toml says; it is thrown away: do it again, {by_hand}"
            ) from error
        except OSError as error:  # requests' errors are such
            raise UserError(f"{url}: {_short(error)}: check the network, {by_hand}") from error
    return Path(found)


def _short(error: OSError) -> str:
    """The last of the reasons that requests and urllib3 wrap in each other."""
    reason: BaseException = error
    while reason.__cause__ or reason.__context__:
        reason = reason.__cause__ or reason.__context__  # type: ignore[assignment]
    return str(reason) or type(reason).__name__


def _check(path: Path, board: Board, chip_id: int | None) -> None:
    """Refuse what is for another chip before anything is erased."""
    data = path.read_bytes()[:512]
    if pinned_firmware(board).format == "uf2":
        if data[:8] != _UF2:
            raise UserError(f"{path}: not a UF2 file")
        if int.from_bytes(data[28:32], "little") != _FAMILIES[board.chip]:
            raise UserError(f"{path}: not for {board.chip}, which {board.name} has")
        return
    if len(data) < 24 or data[0] != _ESP_IMAGE:
        raise UserError(f"{path}: not a firmware of Espressif's chips")
    if chip_id is not None and int.from_bytes(data[12:14], "little") != chip_id:
        raise UserError(f"{path}: not for {board.chip}, which {board.name} has")
