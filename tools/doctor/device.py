"""Checks the board: MicroPython firmware, installed application, config.json, clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tools import deploy
from tools.board import definition, firmware
from tools.board.definition import Board
from tools.bundle import image
from tools.device_config.config import CONFIG_FILE, validate
from tools.device_config.device import DeviceConfig
from tools.doctor.context import NO_CONFIG, CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Finding
from tools.errors import UserError
from tools.heap.estimate import choose_heap

_EARLIEST_YEAR = 2026  # a clock that shows an earlier year was never set


def check_cached_firmware(context: CheckContext) -> Iterator[Finding]:
    """Check the downloaded MicroPython firmware, of the selected board or of all boards."""
    if context.selected_board:
        if context.selected_board.firmware:
            yield rate_cached_firmware(context.selected_board, firmware.find_cached(context.selected_board))
        return
    boards = [board for board in map(definition.load_board, definition.list_boards()) if board.firmware]
    cached = [board for board in boards if firmware.find_cached(board)]
    for board in cached:
        yield rate_cached_firmware(board, firmware.find_cached(board))
    if len(cached) < len(boards):
        missing = len(boards) - len(cached)
        message = f"{missing} of {len(boards)} not downloaded yet; `make flash` downloads them"
        yield Finding(OK, "firmware", message)


def rate_cached_firmware(board: Board, path: Path | None) -> Finding:
    """Check the checksum of a downloaded firmware file; `path` is None if there is none."""
    assert board.firmware
    subject = f"firmware of {board.key}"
    name = board.firmware.file_name
    if path is None:
        return Finding(OK, subject, f"{name}: not downloaded yet; `make flash` downloads it")
    if hashlib.sha256(path.read_bytes()).hexdigest() != board.firmware.sha256:
        return Finding(ERROR, subject, f"{path}: damaged, its SHA-256 is wrong", f"rm '{path}'")
    return Finding(OK, subject, f"{name}: downloaded")


def check_micropython(context: CheckContext) -> Iterator[Finding]:
    """Check the version of MicroPython on the board, and that it can load the project's .mpy files."""
    info, board = context.micropython_info, context.board
    if info is None:
        return
    subject = f"MicroPython on {context.usable_port}"
    flash = f"make flash BOARD={board.key if board else '...'} PORT={context.usable_port}"
    if isinstance(info, UserError):
        yield Finding(ERROR, subject, str(info), f"press the board's reset button, or {flash}")
        return
    version = ".".join(map(str, info["version"]))
    message = f"{version}, {info['machine']}"
    our_mpy = next(image.build_image(board.key if board else "host").rglob("*.mpy")).read_bytes()[1]
    pinned = board.firmware.version if board and board.firmware else version
    if info["mpy"] != our_mpy:
        message += f": loads .mpy files of version {info['mpy']}, but ours have version {our_mpy}"
        yield Finding(ERROR, subject, message, flash)
    elif version != pinned:
        yield Finding(WARNING, subject, f"{message}: version {pinned} is pinned", flash)
    else:
        yield Finding(OK, subject, message)
    if board is None:
        message = "unknown model: application and config were not checked"
        remedy = f"select the board with BOARD=, one of {', '.join(definition.list_flashable_boards())}"
        yield Finding(WARNING, "board", message, remedy)


def check_application(context: CheckContext) -> Iterator[Finding]:
    """Compare the installed application and library with the sources of this checkout."""
    board, port = context.board, context.usable_port
    if not isinstance(context.micropython_info, dict) or board is None or port is None:
        return
    folder = image.build_image(board.key)
    wanted = deploy.hash_files(folder)
    found = deploy.read_board_hashes(port, wanted, next(folder.rglob("*.mpy")).read_bytes()[1], board)
    plan = deploy.plan_sync(wanted, found)
    remedy = f"make deploy BOARD={board.key} PORT={port}"
    if not plan.to_copy and not plan.to_remove:
        yield Finding(OK, "application", f"up to date, {len(plan.unchanged)} files")
    elif not plan.unchanged:
        yield Finding(WARNING, "application", "not installed", remedy)
    else:
        message = f"not up to date: {len(plan.to_copy)} files to copy, {len(plan.to_remove)} to remove"
        yield Finding(WARNING, "application", message, remedy)


def check_config(context: CheckContext) -> Iterator[Finding]:
    """Validate `config.json` of the device, with the code that the device uses."""
    if context.config is None or context.board is None:
        return
    remedy = f"make provision BOARD={context.board.key} PORT={context.usable_port}"
    if isinstance(context.config, UserError):
        level = WARNING if str(context.config) == NO_CONFIG else ERROR
        yield Finding(level, CONFIG_FILE, str(context.config), remedy)
        return
    device: DeviceConfig = context.config
    try:
        info = context.micropython_info
        reported = info.get("heap") if isinstance(info, dict) else None
        warning = validate(device.config, device.files, context.board, choose_heap(context.board, reported))
    except UserError as error:
        yield Finding(ERROR, CONFIG_FILE, str(error).removeprefix(f"{CONFIG_FILE}: "), remedy)
    else:
        base = f"{device.config.get('prefix') or 'umqtt5'}/{device.config['device']}"
        yield Finding(OK, CONFIG_FILE, f"valid; the device publishes under {base}/")
        if warning:
            yield Finding(WARNING, CONFIG_FILE, warning, remedy)


def check_board_clock(context: CheckContext) -> Iterator[Finding]:
    """Warn if the clock of a device that uses TLS is not set: valid certificates then seem not yet valid."""
    if not isinstance(context.micropython_info, dict) or not isinstance(context.config, DeviceConfig):
        return
    year = context.micropython_info["year"]
    endpoint = context.endpoint
    uses_tls = endpoint is not None and endpoint.from_device and endpoint.tls
    if uses_tls and year < _EARLIEST_YEAR:
        message = f"not set, the year is {year}; a certificate whose validity begins later is refused"
        remedy = (
            "let the device reach a time server (ntp in its config), or use the certificates of `make fleet`"
        )
        yield Finding(WARNING, "clock of the board", message, remedy)
