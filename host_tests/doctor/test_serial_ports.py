"""What `make doctor` says of ports that can't be opened."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.board.serial_ports import SerialPort
from tools.doctor import serial_ports
from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Check, Finding, run_checks
from tools.doctor.serial_ports import User, explain_no_permission, try_open

_NOBODY = 65534
_DISK = 6  # the group of this number has the same name on every Linux, or one of its own


@pytest.fixture
def port() -> Iterator[str]:
    """A serial port with nobody behind it."""
    near, far = os.openpty()
    tty.setraw(far)
    yield os.ttyname(far)
    os.close(near)
    os.close(far)


def as_nobody(case: CheckContext) -> list[Finding]:
    """What the checks of ports find for a user without rights."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(_NOBODY, _NOBODY, _NOBODY)
                os.setresuid(_NOBODY, _NOBODY, _NOBODY)
            found = run_checks(
                case, [Check(serial_ports.check_boards), Check(serial_ports.check_permissions)]
            )
            os.write(write, json.dumps([vars(one) for one in found]).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return [Finding(**one) for one in json.loads(said)]


def test_a_port_that_may_not_be_opened(port: str) -> None:
    os.chmod(port, 0)
    found = as_nobody(CheckContext(port=port))
    assert [one.level for one in found] == [OK, ERROR]
    assert found[1].subject == port and "no permission for" in found[1].message
    assert "/etc/udev/rules.d/" in found[1].remedy


def test_a_port_that_can_be_opened(port: str) -> None:
    assert [one.level for one in try_open(port)] == [OK]


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    found = as_nobody(CheckContext(port=str(tmp_path / "ttyUSB0")))
    assert [(one.level, one.message) for one in found] == [(ERROR, "no such port")]


def status(mode: int, gid: int) -> os.stat_result:
    return os.stat_result((stat.S_IFCHR | mode, 1, 1, 1, 0, gid, 0, 0, 0, 0))


def test_the_group_to_join_is_named() -> None:
    import grp

    group = grp.getgrgid(_DISK).gr_name
    stranger = User("ada", 1000, frozenset({1000}), frozenset())
    found = explain_no_permission(SerialPort("/dev/ttyUSB0", "", 0x1A86), status(0o660, _DISK), stranger)
    assert found.remedy.startswith(f"sudo usermod -aG {group} ada")
    joined = User("ada", 1000, frozenset({1000}), frozenset({group}))
    assert (
        explain_no_permission(SerialPort("/dev/ttyUSB0", "", 0x1A86), status(0o660, _DISK), joined).remedy
        == "log out and in again"
    )


def test_the_rule_to_write_is_for_this_maker() -> None:
    ada = User("ada", 1000, frozenset({1000}), frozenset())
    for wrong in (status(0o600, _DISK), status(0o660, 0)):
        found = explain_no_permission(SerialPort("/dev/ttyACM0", "", 0x303A), wrong, ada)
        assert 'ATTRS{idVendor}=="303a"' in found.remedy and "/etc/udev/rules.d/" in found.remedy


def test_who_has_a_port_is_named(port: str) -> None:
    holding = "import serial, sys; s = serial.Serial(sys.argv[1], exclusive=True); print(flush=True); input()"
    command = [sys.executable, "-c", holding, port]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdin
        process.stdout.readline()
        found = list(try_open(port))
        process.communicate(b"\n")
    assert [one.level for one in found] == [ERROR]
    assert f"(process {process.pid})" in found[0].message and "end " in found[0].remedy


def test_modem_manager_and_brltty_are_told(tmp_path: Path) -> None:
    program = tmp_path / "ModemManager"  # a real process with that name
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "85-brltty.rules").touch()
    with subprocess.Popen([program, "60"]) as process:
        ends = time.monotonic() + 20
        while True:
            found = list(serial_ports.find_port_grabbers(Path("/proc"), [tmp_path / "rules"]))
            if len(found) == 2 or time.monotonic() > ends:
                break
        process.kill()
    assert [(one.level, one.subject) for one in found] == [(WARNING, "ModemManager"), (WARNING, "brltty")]
    assert "systemctl" in found[0].remedy


def test_what_is_known_of_a_port() -> None:
    assert "CH340" in serial_ports.describe(SerialPort("/dev/ttyUSB0", "USB Serial", 0x1A86))
    assert "unknown chip" in serial_ports.describe(SerialPort("/dev/ttyUSB0", "", 0x1234))
