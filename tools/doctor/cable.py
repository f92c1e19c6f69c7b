"""What hangs at this computer: ports, permissions, drives, the board and what it runs."""

from __future__ import annotations

import grp
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tools import deploy, image, mpremote, ports, provision, settings, uf2
from tools.board import Board
from tools.console import Serial
from tools.doctor.finding import OK, PROBLEM, WARNING, Finding
from tools.problem import Problem

_CH340 = 0x1A86
_RULE = 'SUBSYSTEM=="tty", ATTRS{idVendor}=="%04x", MODE="0666"'


def serial_ports() -> Iterator[Finding]:
    there = ports.found()
    if not there:
        yield Finding(
            WARNING,
            "ports",
            "no serial port on USB",
            "plug the board in with a cable that carries data; hold BOOTSEL for a bare Pico",
        )
    for port in there:
        yield from permission(port.device, port.description, port.vid)
    if any(port.vid == _CH340 for port in there) and Path("/usr/bin/brltty").exists():
        yield Finding(
            WARNING, "brltty", "takes ports of CH340 chips for a Braille display", "`apt-get remove brltty`"
        )
    if there and _runs("ModemManager"):
        yield Finding(
            WARNING, "ModemManager", "asks new ports whether they are modems", "wait some seconds, or stop it"
        )


def permission(device: str, description: str = "", vid: int | None = None) -> Iterator[Finding]:
    """Whether we may open a port; else which group or rule gives it to us."""
    if os.access(device, os.R_OK | os.W_OK):
        yield Finding(OK, "port", f"{device} {description}".rstrip())
        return
    if not os.path.exists(device):
        yield Finding(
            PROBLEM, "port", f"{device} is not there", "plug the board in; `make doctor` lists the ports"
        )
        return
    found = os.stat(device)
    remedy = "start this as a user who may open it"
    if sys.platform == "linux":
        rule = _RULE % vid if vid else 'KERNEL=="%s", MODE="0666"' % Path(device).name
        remedy = f"write {rule!r} to /etc/udev/rules.d/99-board.rules, plug the board in again"
        group = grp.getgrgid(found.st_gid).gr_name
        if found.st_mode & 0o060 == 0o060 and group != "root":
            remedy = f"`sudo usermod -aG {group} $USER`, then log in again; or {remedy}"
    yield Finding(PROBLEM, "port", f"{device}: no permission", remedy)


def _runs(name: str) -> bool:
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == name:
                return True
        except OSError:
            continue  # it has ended
    return False


def drive(board: Board) -> Iterator[Finding]:
    """The drive of an RP2040 in its bootloader."""
    if not board.chip.startswith("rp2"):
        return
    found = uf2.find(board)
    if found:
        yield Finding(OK, "drive", f"{found}: a bootloader waits for `make flash`")
    else:
        names = " or ".join(uf2.drive_names(board))
        yield Finding(OK, "drive", f"no {names}: no board is in its bootloader")


def device(port: str, board: Board | None) -> Iterator[Finding]:
    """MicroPython, our files and the config on the board at this port."""
    try:
        with Serial(port) as serial:
            if not serial.answers(3):
                yield Finding(
                    WARNING,
                    "MicroPython",
                    f"{port}: none answers",
                    "press reset; `make flash` puts it onto a bare board",
                )
                return
        said = mpremote.run(port, "resume", "exec", _ASK, timeout=20).strip()
    except Problem as problem:
        what, _, remedy = str(problem).partition(": ")[2].partition(": ")
        yield Finding(PROBLEM, "MicroPython", f"{port}: {what}", remedy)
        return
    yield Finding(OK, "MicroPython", f"{port}: {said}")
    if board:
        yield from _application(port, board)
        yield from _config(port, board)


_ASK = """
import sys
print("%s on %s" % (".".join(map(str, sys.implementation[1][:3])), sys.implementation[2]))
"""


def _application(port: str, board: Board) -> Iterator[Finding]:
    folder = image.cached(board.key)
    wanted = deploy.hashes(folder)
    mpy = next(folder.rglob("*.mpy")).read_bytes()[1]
    try:
        made = deploy.plan(wanted, deploy.inventory(port, wanted, mpy))
    except Problem as problem:
        yield Finding(PROBLEM, "application", str(problem), "")
        return
    if made.same and not made.copied and not made.removed:
        yield Finding(OK, "application", f"{port}: all {len(made.same)} files are those of this checkout")
    elif made.same:
        text = f"{port}: {len(made.copied)} files differ, {len(made.removed)} do not belong"
        yield Finding(WARNING, "application", text, "`make deploy` brings it up to date")
    else:
        yield Finding(WARNING, "application", f"{port}: none", "`make deploy` puts it there")


def _config(port: str, board: Board) -> Iterator[Finding]:
    found = provision.present(port)
    if found is None:
        yield Finding(WARNING, "config", f"{port}: no config.json", "`make provision` makes one")
        return
    try:
        settings.check(found.config, found.files, board)
    except Problem as problem:
        yield Finding(PROBLEM, "config", str(problem), "`make provision` mends it")
    else:
        yield Finding(OK, "config", f"{port}: {found.config['device']}, checked as the device does")
