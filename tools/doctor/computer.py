"""This computer: Python, packages, room, clock."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

from tools import firmware
from tools.board import Board
from tools.doctor.finding import OK, PROBLEM, WARNING, Finding
from tools.paths import ROOT

_ROOM = 500_000_000  # bytes
_DRIFT = 60  # s that certificates and people bear
_TIMEOUT = 5  # s
_LOCKED = ROOT / "tools" / "requirements" / "board.txt"


def python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(OK, "Python", f"{version} at {sys.executable}")


def pinned(requirements: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each package that is locked for this Python."""
    for line in requirements.read_text().splitlines():
        requirement, _, marker = line.partition(";")
        name, equals, version = requirement.strip().partition("==")
        if equals and not marker:  # those with a marker are for other systems
            yield name, version


def packages(requirements: Path = _LOCKED) -> Iterator[Finding]:
    wrong = []
    count = 0
    for name, version in pinned(requirements):
        count += 1
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found != version:
            wrong.append(f"{name} {found} instead of {version}")
    if wrong:
        yield Finding(
            PROBLEM, "packages", ", ".join(wrong), "`make clean setup` installs them as they are pinned"
        )
    else:
        yield Finding(OK, "packages", f"all {count} as they are pinned")


def room() -> Iterator[Finding]:
    free = shutil.disk_usage(ROOT).free
    text = f"{free / 1e9:.1f} GB free"
    if free < _ROOM:
        yield Finding(WARNING, "disk", text, "make room: packages and firmware take some hundred MB")
    else:
        yield Finding(OK, "disk", text)


def clock(url: str = firmware.DOWNLOADS) -> Iterator[Finding]:
    """The date that a web server tells beside ours; whether downloads can come is told with it."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_TIMEOUT) as answer:
            date = answer.headers["Date"]
    except urllib.error.HTTPError as error:
        date = error.headers["Date"]
    except OSError as error:
        reason = getattr(error, "reason", error)
        yield Finding(
            WARNING,
            "downloads",
            f"{url} does not answer: {reason}",
            "FIRMWARE=file flashes what you have, offline",
        )
        return
    yield Finding(OK, "downloads", f"{url} answers")
    if date:
        drift = time.time() - parsedate_to_datetime(date).timestamp()
        if abs(drift) > _DRIFT:
            text = f"{abs(drift):,.0f} s {'fast' if drift > 0 else 'slow'}"
            yield Finding(PROBLEM, "clock", text, "set it: certificates count as expired, or not yet valid")
        else:
            yield Finding(OK, "clock", "right to the minute")


def cached(board: Board) -> Iterator[Finding]:
    """The board's firmware in the cache."""
    if board.firmware is None:
        return
    path = firmware.cached(board)
    if path is None:
        yield Finding(OK, "firmware", f"{board.firmware.file} is not here yet: `make flash` downloads it")
    elif not firmware.intact(board, path):
        yield Finding(WARNING, "firmware", f"{path} is damaged", "`make flash` downloads it anew")
    else:
        yield Finding(OK, "firmware", f"{path}")
