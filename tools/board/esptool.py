"""Erases and writes the flash of ESP32 chips, with esptool."""

from __future__ import annotations

import contextlib
import hashlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from esptool.cmds import (
    attach_flash,
    detect_chip,
    erase_flash,
    reset_chip,
    run_stub,
    write_flash,
)
from esptool.logger import TemplateLogger, log
from esptool.targets import CHIP_DEFS
from esptool.util import FatalError
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from serial import SerialException, serial_for_url

from tools import deadlines
from tools.board.definition import Board
from tools.board.exchange import Exchanges, guard_port
from tools.console import Console
from tools.deadlines import BOOTLOADER, FLASH_ERASE, FLASH_WRITE, STUB, DeadlineError
from tools.errors import UserError
from tools.progress import progress_bar

DEFAULT_BAUD = 460800
_PARTITION_TABLE = 0x8000  # offset in the flash, on all chips
_SECTOR = 0x1000  # bytes
_ROM_BAUD = 115200


def chip_definition(board: Board) -> Any:
    """Return esptool's definition of the chip of a board: flash offset, chip id in images."""
    return CHIP_DEFS[board.chip]


def flash_offset(board: Board) -> int:
    """Return the address of the firmware in flash, in bytes."""
    return int(chip_definition(board).BOOTLOADER_FLASH_OFFSET)


class _Log(TemplateLogger):  # type: ignore[misc]
    """Logger for esptool: shows the progress, and saves the other output for error messages."""

    def __init__(self) -> None:
        self.begin(None)

    def begin(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task: Any = None
        self.lines: list[str] = []

    def print(self, *args: object, **_: object) -> None:
        self.lines.append(" ".join(map(str, args)))

    def note(self, message: str) -> None:
        self.lines.append(message)

    warning = error = note

    def stage(self, finish: bool = False) -> None:
        pass

    def progress_bar(
        self, cur_iter: int, total_iters: int, prefix: str = "", suffix: str = "", bar_length: int = 30
    ) -> None:
        if self._progress is None:
            return
        if self._task is None:
            self._task = self._progress.add_task("writing", total=total_iters)
        self._progress.update(self._task, completed=cur_iter, total=total_iters)

    def set_verbosity(self, verbosity: str) -> None:
        pass


_log = _Log()
log.set_logger(_log)


@contextlib.contextmanager
def _quietly(console: Console) -> Iterator[_Log]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with progress_bar(console, *columns) as progress:
        _log.begin(progress)
        yield _log


def write_firmware(
    port: str,
    board: Board,
    firmware: Path,
    console: Console,
    baud: int = DEFAULT_BAUD,
    before_erase: Callable[[str, bool], None] = lambda unique_id, is_blank: None,
) -> str:
    """Check the chip, erase its flash, write and verify the firmware, and reset the board.

    Calls `before_erase(unique_id, is_blank)` before the flash is erased. `is_blank` is False if the flash
    has a partition table, and so possibly files. Returns the unique id of the chip as hex digits. Raises
    UserError.
    """
    with _connect(port, board, console) as (esp, exchanges):
        with exchanges.exchange("reading the id of the chip", STUB):
            unique_id = bytes(esp.read_mac()).hex()
        esp = _start_stub(esp, exchanges)
        with exchanges.exchange("examining the flash", STUB):
            if baud > _ROM_BAUD:
                esp.change_baud(baud)
            attach_flash(esp)
            is_blank = _is_blank(esp)
        before_erase(unique_id, is_blank)
        _erase(esp, port, console, exchanges)
        with exchanges.exchange("writing the firmware", FLASH_WRITE):
            write_flash(esp, [(esp.BOOTLOADER_FLASH_OFFSET, str(firmware))], compress=True)
        _reset(esp, exchanges)
    console.print(f"{port}: {firmware.name} written at {flash_offset(board):#x} and verified")
    return unique_id


def _is_blank(esp: Any) -> bool:
    """Return True if the sector of the partition table is erased."""
    found = esp.flash_md5sum(_PARTITION_TABLE, _SECTOR)
    return bool(str(found).lower() == hashlib.md5(b"\xff" * _SECTOR).hexdigest())


def erase(port: str, board: Board, console: Console) -> None:
    """Check the chip, and erase its whole flash. Raises UserError."""
    with _connect(port, board, console) as (esp, exchanges):
        esp = _start_stub(esp, exchanges)
        with exchanges.exchange("examining the flash", STUB):
            attach_flash(esp)
        _erase(esp, port, console, exchanges)
        _reset(esp, exchanges)


def _start_stub(esp: Any, exchanges: Exchanges) -> Any:
    with exchanges.exchange("starting the flasher of esptool", STUB):
        return run_stub(esp)


def _erase(esp: Any, port: str, console: Console, exchanges: Exchanges) -> None:
    console.print(f"{port}: {esp.CHIP_NAME}: erasing the flash, which takes up to a minute")
    with exchanges.exchange("erasing the flash", FLASH_ERASE), console.status(f"{port}: erasing the flash"):
        erase_flash(esp)


def _reset(esp: Any, exchanges: Exchanges) -> None:
    with exchanges.exchange("restarting the board", STUB):
        reset_chip(esp, "hard-reset")


@contextlib.contextmanager
def _connect(port: str, board: Board, console: Console) -> Iterator[tuple[Any, Exchanges]]:
    """Connect to the ROM bootloader, and check that the chip is the one of the board."""
    esp = serial_port = None
    exchanges = Exchanges(deadlines.current().limit(math.inf, "connecting to the bootloader"))
    with _quietly(console) as log_output:
        try:
            serial_port = _open(port)
            guard_port(serial_port, exchanges)
            with exchanges.exchange("connecting to the bootloader", BOOTLOADER):
                esp = detect_chip(serial_port, _ROM_BAUD)
            found = esp.CHIP_NAME.lower().replace("-", "")
            if found != board.chip:
                raise UserError(
                    f"{port}: the chip is {esp.CHIP_NAME}, but boards/{board.key} is for {board.chip}. "
                    f"Choose the right board with BOARD="
                )
            yield esp, exchanges
        except DeadlineError as error:
            raise DeadlineError(f"{port}: {error}") from error
        except (FatalError, SerialException, OSError) as error:
            raise UserError(f"{port}: {_explain(str(error), log_output.lines)}") from error
        finally:
            if serial_port is not None:
                with contextlib.suppress(OSError, SerialException):
                    serial_port.close()


def _open(port: str) -> Any:
    """Open a port as esptool does: on Windows, setting these lines on opening would reset the chip."""
    serial_port = serial_for_url(port, exclusive=True, do_not_open=True)
    if sys.platform == "win32":
        serial_port.rts = False
        serial_port.dtr = False
    serial_port.open()
    return serial_port


def _explain(error: str, log_lines: list[str]) -> str:
    text = error.lower()
    if "busy" in text or "lock" in text or "denied" in text:
        return "another program uses the port. Close it, then try again"
    if "could not open" in text or "no such file" in text:
        return "cannot open the port. Check that the board is plugged in. To find the cause: make doctor"
    if "failed to connect" in text or "no serial data" in text:
        return (
            "the bootloader does not answer. Hold BOOT, press and release RESET (or plug the board in), "
            "release BOOT, then try again"
        )
    if "md5" in text or "verif" in text:
        return "verification failed: the flash differs from the file. Try another cable or a lower BAUD="
    if (
        "input/output" in text
        or "disconnected" in text
        or "readiness" in text
        or "stopped responding" in text
    ):
        return "the board was unplugged. Plug it in, then try again: make flash restores its saved config"
    last = "".join(log_lines[-1:]) or "it printed nothing"
    return f"esptool failed: {error.strip().splitlines()[0] if error.strip() else last}"
