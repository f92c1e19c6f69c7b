"""Serial ports: which there are, who may open them, who else grabs them."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.board import definition, uf2
from tools.board.serial_console import SerialConsole
from tools.board.serial_ports import RASPBERRY_PI, SerialPort
from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Finding
from tools.errors import UserError

# what is known of the maker's number on USB
_MAKERS = {
    0x303A: "Espressif's own USB",
    0x10C4: "CP210x of Silicon Labs",
    0x1A86: "CH340 or CH910x of WCH",
    0x0403: "FTDI",
    0x067B: "PL2303 of Prolific",
    RASPBERRY_PI: "Raspberry Pi",
}
_GROUPS = ("dialout", "uucp", "plugdev")
_RULE = "/etc/udev/rules.d/99-micropython.rules"
_NO_BOARD = {
    "Linux": "plug it in with a cable that carries data; `sudo dmesg | tail` tells what the kernel has seen",
    "Darwin": "plug it in with a cable that carries data; a CH340 or CP210x needs its maker's driver: "
    "`ls /dev/cu.*` shows what there is",
    "Windows": "plug it in with a cable that carries data; the Device Manager shows it below Ports: with a "
    "yellow sign it needs its maker's driver",
}


@dataclass(frozen=True)
class User:
    """Who wants to open a port."""

    name: str
    uid: int
    gids: frozenset[int]  # of this process
    groups: frozenset[str]  # as the system's files have them, which count from the next login on


def current_user() -> User:
    import grp
    import pwd

    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = getpass.getuser()
    groups = frozenset(one.gr_name for one in grp.getgrall() if name in one.gr_mem)
    return User(name, uid, frozenset((*os.getgroups(), os.getegid())), groups)


def check_boards(case: CheckContext) -> Iterator[Finding]:
    """What is plugged in."""
    if not case.candidate_ports:
        remedy = _NO_BOARD.get(platform.system(), _NO_BOARD["Linux"])
        yield Finding(WARNING, "board", "no serial port on USB", remedy)
    for port in case.candidate_ports:
        if not os.path.exists(port.device) and platform.system() != "Windows":
            remedy = "plug the board in, or leave PORT out"
            yield Finding(ERROR, port.device, "there is no such port", remedy)
        else:
            yield Finding(OK, port.device, describe(port))
    if len(case.candidate_ports) > 1:
        text = f"{len(case.candidate_ports)} ports: none is asked"
        yield Finding(WARNING, "board", text, f"say which: make doctor PORT={case.candidate_ports[0].device}")


def describe(port: SerialPort) -> str:
    """What is known of it."""
    maker = _MAKERS.get(port.vid or 0)
    number = f"USB {port.vid:04x}" if port.vid is not None else "not on USB"
    return ", ".join(part for part in (port.description, maker or "maker unknown", number) if part)


def check_permissions(case: CheckContext) -> Iterator[Finding]:
    """Whether each port may be opened, and can be."""
    for port in case.candidate_ports:
        if platform.system() != "Windows":
            if not os.path.exists(port.device):
                continue
            if not os.access(port.device, os.R_OK | os.W_OK):
                yield explain_no_permission(port, os.stat(port.device), current_user())
                continue
        yield from try_open(port.device)


def explain_no_permission(port: SerialPort, status: os.stat_result, person: User) -> Finding:
    """Why a person may not open a port, and what to type."""
    import grp

    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    text = f"no permission for {person.name}: it is open to the group {group}"
    group_may = status.st_mode & 0o060 == 0o060
    if platform.system() == "Darwin":
        return Finding(ERROR, port.device, text, f"sudo chmod a+rw {port.device}, and use the /dev/cu. port")
    if not group_may or status.st_gid == 0:
        vendor = f', ATTRS{{idVendor}}=="{port.vid:04x}"' if port.vid is not None else ""
        group = next((name for name in _GROUPS if _is_group(name)), "plugdev")
        rule = f'SUBSYSTEM=="tty"{vendor}, MODE="0660", GROUP="{group}", TAG+="uaccess"'
        remedy = f"echo '{rule}' | sudo tee {_RULE}; sudo udevadm control --reload; plug it in again"
        return Finding(ERROR, port.device, f"no permission for {person.name}, nor for any group", remedy)
    if status.st_gid in person.gids:
        remedy = f"sudo setfacl -x u:{person.name} {port.device}: something else forbids it"
        return Finding(ERROR, port.device, text, remedy)
    if group in person.groups:
        text += f", which {person.name} has joined since"
        return Finding(ERROR, port.device, text, "log out and in again")
    return Finding(
        ERROR, port.device, text, f"sudo usermod -aG {group} {person.name}, then log out and in again"
    )


def _is_group(name: str) -> bool:
    import grp

    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def try_open(device: str, proc: Path = Path("/proc")) -> Iterator[Finding]:
    """Open it for a moment; where another program has it, that is named."""
    try:
        with SerialConsole(device):
            pass
    except UserError as problem:
        who = find_port_holder(device, proc)
        text = f"{who} has it" if who else str(problem).removeprefix(f"{device}: ")
        remedy = f"end {who}" if who else "close the program that has it, or plug the board in again"
        yield Finding(ERROR, device, text, remedy)
    else:
        yield Finding(OK, device, "can be opened")


def find_port_holder(device: str, proc: Path = Path("/proc")) -> str | None:
    """The program that has a port open, as far as we may see that."""
    wanted = os.path.realpath(device)
    for folder in proc.glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        try:
            if any(os.path.realpath(link) == wanted for link in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text().strip()} (process {folder.name})"
        except OSError:
            continue
    return None


def check_port_grabbers(case: CheckContext) -> Iterator[Finding]:
    """Programs that open every new port, or take it away."""
    yield from find_port_grabbers(Path("/proc"), [Path("/usr/lib/udev/rules.d"), Path("/lib/udev/rules.d")])


def find_port_grabbers(proc: Path, rules: list[Path]) -> Iterator[Finding]:
    """ModemManager probes a new port for seconds; brltty takes those of a CH340 for Braille displays."""
    for path in proc.glob("[0-9]*/comm"):
        try:
            name = path.read_text().strip()
        except OSError:
            continue
        if name == "ModemManager":
            remedy = "sudo systemctl mask --now ModemManager, unless this computer has a modem"
            yield Finding(
                WARNING, "ModemManager", "runs, and writes to each new port for some seconds", remedy
            )
            break
    if any(next(folder.glob("*brltty*.rules"), None) for folder in rules):
        remedy = "sudo apt-get remove brltty, unless somebody reads Braille here"
        yield Finding(WARNING, "brltty", "takes boards with a CH340 or CP210x for Braille displays", remedy)


def check_boot_drive(case: CheckContext) -> Iterator[Finding]:
    """The drive of an RP2040 whose bootloader runs."""
    for target in (
        [case.selected_board] if case.selected_board else map(definition.load_board, definition.list_boards())
    ):
        if not target.chip.startswith("rp2"):
            continue
        drive = uf2.find_drive(target, case.drive)
        if drive:
            text = f"{target.name} is in its bootloader: {drive}"
            yield Finding(OK, "drive", text)
            if not case.selected_board:
                return
