"""The board at the port: its MicroPython, our application, its config, its clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tools import deploy
from tools.board import definition, firmware
from tools.board.definition import Board
from tools.bundle import image
from tools.device_config.config import CONFIG_FILE, validate
from tools.doctor.context import NO_CONFIG, CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Finding
from tools.errors import UserError
from tools.provision import DeviceConfig

_YEAR_OF_THIS = 2026  # a clock that is before it was never set


def check_cached_firmware(case: CheckContext) -> Iterator[Finding]:
    """The pinned MicroPython in the cache of downloads."""
    if case.selected_board:
        if case.selected_board.firmware:
            yield rate_cached_firmware(case.selected_board, firmware.find_cached(case.selected_board))
        return
    boards = [one for one in map(definition.load_board, definition.list_boards()) if one.firmware]
    there = [one for one in boards if firmware.find_cached(one)]
    for one in there:
        yield rate_cached_firmware(one, firmware.find_cached(one))
    if len(there) < len(boards):
        text = f"{len(boards) - len(there)} of {len(boards)} not downloaded yet, make flash does"
        yield Finding(OK, "firmware", text)


def rate_cached_firmware(target: Board, path: Path | None) -> Finding:
    """What a file in the cache is worth."""
    assert target.firmware
    what = f"firmware of {target.key}"
    if path is None:
        return Finding(OK, what, f"{target.firmware.file_name}: not downloaded yet, make flash does")
    if hashlib.sha256(path.read_bytes()).hexdigest() != target.firmware.sha256:
        return Finding(ERROR, what, f"{path}: is damaged", f"rm '{path}'")
    return Finding(OK, what, f"{target.firmware.file_name}: downloaded")


def check_micropython(case: CheckContext) -> Iterator[Finding]:
    """Which one answers, and whether it loads our files."""
    if case.micropython_info is None:
        return
    what = f"MicroPython on {case.usable_port}"
    flash = f"make flash BOARD={case.board.key if case.board else '...'} PORT={case.usable_port}"
    if isinstance(case.micropython_info, UserError):
        yield Finding(ERROR, what, str(case.micropython_info), f"press its reset button, or {flash}")
        return
    version = ".".join(map(str, case.micropython_info["version"]))
    text = f"{version}, {case.micropython_info['machine']}"
    ours = next(image.build_image(case.board.key if case.board else "host").rglob("*.mpy")).read_bytes()[1]
    pinned = case.board.firmware.version if case.board and case.board.firmware else version
    if case.micropython_info["mpy"] != ours:
        text += f": loads .mpy of version {case.micropython_info['mpy']}, ours are of {ours}"
        yield Finding(ERROR, what, text, flash)
    elif version != pinned:
        yield Finding(WARNING, what, f"{text}: {pinned} is pinned", flash)
    else:
        yield Finding(OK, what, text)
    if case.board is None:
        text = "which board it is can't be told: application and config are not looked at"
        yield Finding(WARNING, "board", text, f"say BOARD=, one of {', '.join(definition.list_boards())}")


def check_application(case: CheckContext) -> Iterator[Finding]:
    """Whether the board has what the sources say."""
    if not isinstance(case.micropython_info, dict) or case.board is None or case.usable_port is None:
        return
    folder = image.build_image(case.board.key)
    wanted = deploy.hash_files(folder)
    found = deploy.read_board_hashes(case.usable_port, wanted, next(folder.rglob("*.mpy")).read_bytes()[1])
    made = deploy.plan_sync(wanted, found)
    remedy = f"make deploy BOARD={case.board.key} PORT={case.usable_port}"
    if not made.to_copy and not made.to_remove:
        yield Finding(OK, "application", f"all {len(made.unchanged)} files as the sources are")
    elif not made.unchanged:
        yield Finding(WARNING, "application", "not on the board", remedy)
    else:
        text = f"{len(made.to_copy)} files differ, {len(made.to_remove)} do not belong there"
        yield Finding(WARNING, "application", text, remedy)


def check_config(case: CheckContext) -> Iterator[Finding]:
    """`config.json` on the board, as the device checks it."""
    if case.config is None or case.board is None:
        return
    remedy = f"make provision BOARD={case.board.key} PORT={case.usable_port}"
    if isinstance(case.config, UserError):
        level = WARNING if str(case.config) == NO_CONFIG else ERROR
        yield Finding(level, CONFIG_FILE, str(case.config), remedy)
        return
    found: DeviceConfig = case.config
    try:
        validate(found.config, found.files, case.board)
    except UserError as problem:
        text = str(problem).removeprefix(f"{CONFIG_FILE}: ")
        yield Finding(ERROR, CONFIG_FILE, text, remedy)
    else:
        yield Finding(OK, CONFIG_FILE, f"good: {found.config['device']} below {found.config['prefix']}/")


def check_board_clock(case: CheckContext) -> Iterator[Finding]:
    """A device with TLS takes certificates for ones of the future where its clock was never set."""
    if not isinstance(case.micropython_info, dict) or not isinstance(case.config, DeviceConfig):
        return
    year = case.micropython_info["year"]
    secure = case.endpoint is not None and case.endpoint.from_device and case.endpoint.tls
    if secure and year < _YEAR_OF_THIS:
        text = f"says {year}, was never set: a broker's certificate that begins later is refused"
        remedy = "let it reach a time server (ntp in its config), or take certificates as `make fleet` creates them"
        yield Finding(WARNING, "clock of the board", text, remedy)
