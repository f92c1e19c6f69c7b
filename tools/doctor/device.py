"""The board at the port: its MicroPython, our application, its config, its clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tools import deploy
from tools.board import definition, firmware
from tools.board.definition import Board
from tools.bundle import image
from tools.device_config import config as settings
from tools.doctor.context import NO_CONFIG, Case
from tools.doctor.finding import OK, PROBLEM, WARNING, Finding
from tools.errors import Problem
from tools.provision import Provision

_YEAR_OF_THIS = 2026  # a clock that is before it was never set


def cached_firmware(case: Case) -> Iterator[Finding]:
    """The pinned MicroPython in the cache of downloads."""
    if case.target:
        if case.target.firmware:
            yield kept(case.target, firmware.cached(case.target))
        return
    boards = [one for one in map(definition.load, definition.names()) if one.firmware]
    there = [one for one in boards if firmware.cached(one)]
    for one in there:
        yield kept(one, firmware.cached(one))
    if len(there) < len(boards):
        text = f"{len(boards) - len(there)} of {len(boards)} not downloaded yet, make flash does"
        yield Finding(OK, "firmware", text)


def kept(target: Board, path: Path | None) -> Finding:
    """What a file in the cache is worth."""
    assert target.firmware
    what = f"firmware of {target.key}"
    if path is None:
        return Finding(OK, what, f"{target.firmware.file}: not downloaded yet, make flash does")
    if hashlib.sha256(path.read_bytes()).hexdigest() != target.firmware.sha256:
        return Finding(PROBLEM, what, f"{path}: is damaged", f"rm '{path}'")
    return Finding(OK, what, f"{target.firmware.file}: downloaded")


def micropython(case: Case) -> Iterator[Finding]:
    """Which one answers, and whether it loads our files."""
    if case.facts is None:
        return
    what = f"MicroPython on {case.usable}"
    flash = f"make flash BOARD={case.board.key if case.board else '...'} PORT={case.usable}"
    if isinstance(case.facts, Problem):
        yield Finding(PROBLEM, what, str(case.facts), f"press its reset button, or {flash}")
        return
    version = ".".join(map(str, case.facts["version"]))
    text = f"{version}, {case.facts['machine']}"
    ours = next(image.cached(case.board.key if case.board else "host").rglob("*.mpy")).read_bytes()[1]
    pinned = case.board.firmware.version if case.board and case.board.firmware else version
    if case.facts["mpy"] != ours:
        text += f": loads .mpy of version {case.facts['mpy']}, ours are of {ours}"
        yield Finding(PROBLEM, what, text, flash)
    elif version != pinned:
        yield Finding(WARNING, what, f"{text}: {pinned} is pinned", flash)
    else:
        yield Finding(OK, what, text)
    if case.board is None:
        text = "which board it is can't be told: application and config are not looked at"
        yield Finding(WARNING, "board", text, f"say BOARD=, one of {', '.join(definition.names())}")


def application(case: Case) -> Iterator[Finding]:
    """Whether the board has what the sources say."""
    if not isinstance(case.facts, dict) or case.board is None or case.usable is None:
        return
    folder = image.cached(case.board.key)
    wanted = deploy.hashes(folder)
    found = deploy.inventory(case.usable, wanted, next(folder.rglob("*.mpy")).read_bytes()[1])
    made = deploy.plan(wanted, found)
    remedy = f"make deploy BOARD={case.board.key} PORT={case.usable}"
    if not made.copied and not made.removed:
        yield Finding(OK, "application", f"all {len(made.same)} files as the sources are")
    elif not made.same:
        yield Finding(WARNING, "application", "not on the board", remedy)
    else:
        text = f"{len(made.copied)} files differ, {len(made.removed)} do not belong there"
        yield Finding(WARNING, "application", text, remedy)


def config(case: Case) -> Iterator[Finding]:
    """`config.json` on the board, as the device checks it."""
    if case.config is None or case.board is None:
        return
    remedy = f"make provision BOARD={case.board.key} PORT={case.usable}"
    if isinstance(case.config, Problem):
        level = WARNING if str(case.config) == NO_CONFIG else PROBLEM
        yield Finding(level, settings.CONFIG, str(case.config), remedy)
        return
    found: Provision = case.config
    try:
        settings.check(found.config, found.files, case.board)
    except Problem as problem:
        text = str(problem).removeprefix(f"{settings.CONFIG}: ")
        yield Finding(PROBLEM, settings.CONFIG, text, remedy)
    else:
        yield Finding(OK, settings.CONFIG, f"good: {found.config['device']} below {found.config['prefix']}/")


def clock_of_board(case: Case) -> Iterator[Finding]:
    """A device with TLS takes certificates for ones of the future where its clock was never set."""
    if not isinstance(case.facts, dict) or not isinstance(case.config, Provision):
        return
    year = case.facts["year"]
    secure = case.endpoint is not None and case.endpoint.of_device and case.endpoint.tls
    if secure and year < _YEAR_OF_THIS:
        text = f"says {year}, was never set: a broker's certificate that begins later is refused"
        remedy = (
            "let it reach a time server (ntp in its config), or take certificates as make fleet makes them"
        )
        yield Finding(WARNING, "clock of the board", text, remedy)
