"""`make doctor` explains why a serial port cannot be opened: permissions, other programs, missing port."""

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
_DISK = 6  # a group ID that exists on every Linux system; its name may differ


@pytest.fixture
def port() -> Iterator[str]:
    """A serial port on which nothing answers."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def check_ports_as_nobody(context: CheckContext) -> list[Finding]:
    """Return the findings of the port checks, run in a process without privileges."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(_NOBODY, _NOBODY, _NOBODY)
                os.setresuid(_NOBODY, _NOBODY, _NOBODY)
            findings = run_checks(
                context, [Check(serial_ports.check_boards), Check(serial_ports.check_permissions)]
            )
            os.write(write, json.dumps([vars(finding) for finding in findings]).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        output = pipe.read()
    os.waitpid(child, 0)
    return [Finding(**finding) for finding in json.loads(output)]


def test_a_port_without_permission_is_reported(port: str) -> None:
    os.chmod(port, 0)
    found = check_ports_as_nobody(CheckContext(port=port))
    assert [finding.level for finding in found] == [OK, ERROR]
    assert found[1].subject == port and "no permission for" in found[1].message
    assert "/etc/udev/rules.d/" in found[1].remedy


def test_a_free_port_is_ok(port: str) -> None:
    assert [finding.level for finding in try_open(port)] == [OK]


def test_a_missing_port_is_reported(tmp_path: Path) -> None:
    found = check_ports_as_nobody(CheckContext(port=str(tmp_path / "ttyUSB0")))
    assert [(finding.level, finding.message) for finding in found] == [(ERROR, "no such port")]


def status(mode: int, gid: int) -> os.stat_result:
    """Return the `os.stat` result of a character device that belongs to root, with this mode and group."""
    return os.stat_result((stat.S_IFCHR | mode, 1, 1, 1, 0, gid, 0, 0, 0, 0))


def test_the_remedy_names_the_group_to_join() -> None:
    import grp

    group = grp.getgrgid(_DISK).gr_name
    not_in_group = User("ada", 1000, frozenset({1000}), frozenset())
    found = explain_no_permission(SerialPort("/dev/ttyUSB0", "", 0x1A86), status(0o660, _DISK), not_in_group)
    assert found.remedy.startswith(f"sudo usermod -aG {group} ada")
    in_group = User("ada", 1000, frozenset({1000}), frozenset({group}))
    assert (
        explain_no_permission(SerialPort("/dev/ttyUSB0", "", 0x1A86), status(0o660, _DISK), in_group).remedy
        == "log out and in again"
    )


def test_the_udev_rule_contains_the_vendor_id() -> None:
    ada = User("ada", 1000, frozenset({1000}), frozenset())
    for no_group_to_join in (status(0o600, _DISK), status(0o660, 0)):
        found = explain_no_permission(SerialPort("/dev/ttyACM0", "", 0x303A), no_group_to_join, ada)
        assert 'ATTRS{idVendor}=="303a"' in found.remedy and "/etc/udev/rules.d/" in found.remedy


def test_the_process_that_uses_a_port_is_named(port: str) -> None:
    program = "import serial, sys; s = serial.Serial(sys.argv[1], exclusive=True); print(flush=True); input()"
    command = [sys.executable, "-c", program, port]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdin
        process.stdout.readline()
        found = list(try_open(port))
        process.communicate(b"\n")
    assert [finding.level for finding in found] == [ERROR]
    assert f"(process {process.pid})" in found[0].message and "end " in found[0].remedy


def test_modem_manager_and_brltty_are_reported(tmp_path: Path) -> None:
    program = tmp_path / "ModemManager"  # a process with this name really runs
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "85-brltty.rules").touch()
    with subprocess.Popen([program, "60"]) as process:
        deadline = time.monotonic() + 20
        while True:
            found = list(serial_ports.find_port_grabbers(Path("/proc"), [tmp_path / "rules"]))
            if len(found) == 2 or time.monotonic() > deadline:
                break
        process.kill()
    assert [(finding.level, finding.subject) for finding in found] == [
        (WARNING, "ModemManager"),
        (WARNING, "brltty"),
    ]
    assert "systemctl" in found[0].remedy


def test_a_port_is_described_by_its_usb_chip() -> None:
    assert "CH340" in serial_ports.describe(SerialPort("/dev/ttyUSB0", "USB Serial", 0x1A86))
    assert "unknown chip" in serial_ports.describe(SerialPort("/dev/ttyUSB0", "", 0x1234))
