"""Checks the serial ports: which exist, who may open them, which programs use them, and boot drives."""

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

# USB chips by vendor id
_CHIPS = {
    0x303A: "USB of an Espressif chip",
    0x10C4: "CP210x of Silicon Labs",
    0x1A86: "CH340 or CH910x of WCH",
    0x0403: "FTDI",
    0x067B: "PL2303 of Prolific",
    RASPBERRY_PI: "Raspberry Pi",
}
_GROUPS = ("dialout", "uucp", "plugdev")  # the groups for serial ports, in order of preference
_UDEV_RULE = "/etc/udev/rules.d/99-micropython.rules"
_PLUG_IN = "plug the board in with a USB cable that carries data"
_NO_BOARD = {
    "Linux": f"{_PLUG_IN}; `sudo dmesg | tail` shows whether the kernel detects it",
    "Darwin": f"{_PLUG_IN}; `ls /dev/cu.*` lists the ports; a CH340 or CP210x needs the driver of its maker",
    "Windows": f"{_PLUG_IN}; a yellow sign in the Device Manager means that its driver is missing",
}


@dataclass(frozen=True)
class User:
    """The user who opens a port."""

    name: str
    uid: int
    gids: frozenset[int]  # groups of this process
    groups: frozenset[str]  # names of its groups in /etc/group; a new one applies after the next login


def current_user() -> User:
    """Return the user of this process."""
    import grp
    import pwd

    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = getpass.getuser()
    groups = frozenset(group.gr_name for group in grp.getgrall() if name in group.gr_mem)
    return User(name, uid, frozenset((*os.getgroups(), os.getegid())), groups)


def check_boards(context: CheckContext) -> Iterator[Finding]:
    """List the serial ports on USB."""
    ports = context.candidate_ports
    if not ports:
        remedy = _NO_BOARD.get(platform.system(), _NO_BOARD["Linux"])
        yield Finding(WARNING, "board", "no serial port on USB", remedy)
    for port in ports:
        if not os.path.exists(port.device) and platform.system() != "Windows":
            yield Finding(ERROR, port.device, "no such port", "plug the board in, or omit PORT")
        else:
            yield Finding(OK, port.device, describe(port))
    if len(ports) > 1:
        message = f"{len(ports)} ports: no board was checked"
        yield Finding(WARNING, "board", message, f"choose one: make doctor PORT={ports[0].device}")


def describe(port: SerialPort) -> str:
    """Return the description of a port, its USB chip and its vendor id."""
    chip = _CHIPS.get(port.vid or 0)
    number = f"USB {port.vid:04x}" if port.vid is not None else "not on USB"
    return ", ".join(part for part in (port.description, chip or "unknown chip", number) if part)


def check_permissions(context: CheckContext) -> Iterator[Finding]:
    """Check that the user may open each port, and that no other program uses it."""
    for port in context.candidate_ports:
        if platform.system() != "Windows":
            if not os.path.exists(port.device):
                continue
            if not os.access(port.device, os.R_OK | os.W_OK):
                yield explain_no_permission(port, os.stat(port.device), current_user())
                continue
        yield from try_open(port.device)


def explain_no_permission(port: SerialPort, status: os.stat_result, user: User) -> Finding:
    """Explain why `user` may not open a port with this `status`, and how to get the permission."""
    import grp

    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    message = f"no permission for {user.name}; members of the group {group} may open it"
    if platform.system() == "Darwin":
        remedy = f"sudo chmod a+rw {port.device}, and use the port that begins with /dev/cu."
    elif status.st_mode & 0o060 != 0o060 or status.st_gid == 0:
        message = f"no permission for {user.name}, and no group has one"
        remedy = _add_udev_rule(port)
    elif status.st_gid in user.gids:
        message = f"no permission for {user.name}, although {user.name} is in the port's group {group}"
        remedy = f"an access control list may forbid it: sudo setfacl -x u:{user.name} {port.device}"
    elif group in user.groups:
        message += f"; {user.name} has joined it since the last login"
        remedy = "log out and in again"
    else:
        remedy = f"sudo usermod -aG {group} {user.name}, then log out and in again"
    return Finding(ERROR, port.device, message, remedy)


def _add_udev_rule(port: SerialPort) -> str:
    """Return the command that lets users open the ports of this vendor."""
    vendor = f', ATTRS{{idVendor}}=="{port.vid:04x}"' if port.vid is not None else ""
    group = next((name for name in _GROUPS if _is_group(name)), "plugdev")
    rule = f'SUBSYSTEM=="tty"{vendor}, MODE="0660", GROUP="{group}", TAG+="uaccess"'
    return f"echo '{rule}' | sudo tee {_UDEV_RULE}; sudo udevadm control --reload; plug the board in again"


def _is_group(name: str) -> bool:
    import grp

    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def try_open(device: str, proc: Path = Path("/proc")) -> Iterator[Finding]:
    """Open a port for a moment. If this fails, name the program that uses it."""
    try:
        with SerialConsole(device):
            pass
    except UserError as error:
        program = find_port_holder(device, proc)
        message = f"in use by {program}" if program else str(error).removeprefix(f"{device}: ")
        remedy = f"end {program}" if program else "close the program that uses it, or plug the board in again"
        yield Finding(ERROR, device, message, remedy)
    else:
        yield Finding(OK, device, "can be opened")


def find_port_holder(device: str, proc: Path = Path("/proc")) -> str | None:
    """Return the name and process id of a program that has a port open. None if none is visible."""
    wanted = os.path.realpath(device)
    for folder in proc.glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        try:
            if any(os.path.realpath(link) == wanted for link in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text(encoding='utf-8').strip()} (process {folder.name})"
        except OSError:
            continue
    return None


def check_port_grabbers(context: CheckContext) -> Iterator[Finding]:
    """Look for programs that open each new serial port: ModemManager and brltty."""
    yield from find_port_grabbers(Path("/proc"), [Path("/usr/lib/udev/rules.d"), Path("/lib/udev/rules.d")])


def find_port_grabbers(proc: Path, rules: list[Path]) -> Iterator[Finding]:
    """Look for ModemManager among the processes, and for brltty in the folders of udev `rules`.

    ModemManager probes a new port for some seconds. brltty treats CH340 and CP210x chips as Braille displays.
    """
    for path in proc.glob("[0-9]*/comm"):
        try:
            name = path.read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if name == "ModemManager":
            remedy = "sudo systemctl mask --now ModemManager, unless this computer has a modem"
            yield Finding(WARNING, name, "it writes to each new serial port for some seconds", remedy)
            break
    if any(next(folder.glob("*brltty*.rules"), None) for folder in rules):
        message = "it treats boards with a CH340 or CP210x as Braille displays, and occupies their ports"
        yield Finding(
            WARNING, "brltty", message, "sudo apt-get remove brltty, unless you use a Braille display"
        )


def check_boot_drive(context: CheckContext) -> Iterator[Finding]:
    """Report a board whose UF2 bootloader is running: it appears as a drive."""
    selected = context.selected_board
    for board in [selected] if selected else map(definition.load_board, definition.list_boards()):
        if not board.chip.startswith("rp2"):
            continue
        drive = uf2.find_drive(board, context.drive)
        if drive:
            yield Finding(OK, "drive", f"{board.name} is in its bootloader: {drive}")
            if not selected:
                return
