"""Downloads the pinned MicroPython firmware of a board to a cache, and checks its SHA-256 and its chip."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pooch
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tools.board.definition import Board, FirmwareFile
from tools.console import Console
from tools.errors import UserError
from tools.progress import progress_bar
from tools.text_files import read_bytes

DOWNLOAD_URL = "https://micropython.org/resources/firmware/"
_ESP_MAGIC = 0xE9  # first byte of an image for ESP32 chips
_UF2_MAGIC = bytes.fromhex("5546320a 57515d9e")
# family id in the blocks of a UF2 file
_UF2_FAMILIES = {"rp2040": 0xE48BFF56, "rp2350": 0xE48BFF59}


def cache_folder() -> Path:
    """Return the folder for downloads."""
    return Path(pooch.os_cache("umqtt5"))


def pinned_firmware(board: Board) -> FirmwareFile:
    """Return the pinned firmware of a board. Raises UserError for the host board, which has none."""
    if board.firmware is None:
        raise UserError(f"{board.name}: this board has no firmware. To run it: make demo")
    return board.firmware


def find_cached(board: Board) -> Path | None:
    """Return the downloaded firmware file of a board, or None."""
    path = cache_folder() / pinned_firmware(board).file_name
    return path if path.is_file() else None


def matches_checksum(board: Board, path: Path) -> bool:
    """Return whether a file has the SHA-256 of the pinned firmware."""
    return hashlib.sha256(read_bytes(path)).hexdigest() == pinned_firmware(board).sha256


class _Bar:
    """Adapter from the progress bar that pooch expects to the one of rich."""

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
    """Return the firmware file of a board: `file` if given, otherwise the pinned version from the cache.

    The pinned version is downloaded if necessary.

    `chip_id` is the expected chip in the header of an image for ESP32 chips; None skips this check.
    Raises UserError if the file is missing, damaged, or for another chip.
    """
    wanted = pinned_firmware(board)
    if file:
        if not file.is_file():
            raise UserError(f"FIRMWARE={file}: no such file")
        path = file
        if not matches_checksum(board, path):
            console.print(
                f"{path}: differs from the pinned {wanted.file_name}. It is used because FIRMWARE names it",
                highlight=False,
            )
    else:
        path = _download(wanted, mirror, console)
    _check(path, board, chip_id)
    return path


def _download(wanted: FirmwareFile, mirror: str, console: Console) -> Path:
    url = mirror.rstrip("/") + "/" + wanted.file_name
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    by_hand = f"or download {wanted.file_name} by other means and add FIRMWARE=file"
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
                f"{url}: the download was deleted, because it does not have the SHA-256 in board.toml. "
                f"Try again, {by_hand}"
            ) from error
        except OSError as error:  # the base class of the errors of requests
            raise UserError(
                f"{url}: download failed: {_root_cause(error)}. Check the network, {by_hand}"
            ) from error
    return Path(found)


def _root_cause(error: OSError) -> str:
    """Return the innermost of the exceptions that requests and urllib3 wrap in each other."""
    reason: BaseException = error
    while reason.__cause__ or reason.__context__:
        reason = reason.__cause__ or reason.__context__  # type: ignore[assignment]
    return str(reason) or type(reason).__name__


def _check(path: Path, board: Board, chip_id: int | None) -> None:
    """Raise UserError if a firmware file is for another chip."""
    data = read_bytes(path)[:512]
    if pinned_firmware(board).format == "uf2":
        if data[:8] != _UF2_MAGIC:
            raise UserError(f"{path}: not a UF2 file. {board.name} needs one")
        if int.from_bytes(data[28:32], "little") != _UF2_FAMILIES[board.chip]:
            raise UserError(f"{path}: for another chip. {board.name} has the chip {board.chip}")
        return
    if len(data) < 24 or data[0] != _ESP_MAGIC:
        raise UserError(f"{path}: not a firmware image for ESP32 chips. {board.name} needs one")
    if chip_id is not None and int.from_bytes(data[12:14], "little") != chip_id:
        raise UserError(f"{path}: for another chip. {board.name} has the chip {board.chip}")
