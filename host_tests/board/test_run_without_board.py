"""`make run` without a board: the program runs in the MicroPython VM, and the command says so."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from host_tests.device.test_demo import children, have_ended
from tools import run
from tools.board import mpremote, serial_ports
from tools.board.serial_ports import SerialPort
from tools.paths import ROOT

NOTE = "runs in the MicroPython VM of this computer. Ctrl-C ends it\n"


def command(*arguments: object) -> list[str]:
    # BOARD=host, because a board may be connected to the computer that runs the tests
    return [sys.executable, "-m", "tools", "run", "--board", "host", *map(str, arguments)]


def run_program(folder: Path, source: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(source)
    return subprocess.run(
        command(folder / "program.py"), cwd=ROOT, input=typed, capture_output=True, text=True, timeout=60
    )


def test_the_program_has_the_library_its_own_folder_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("NAME = 'mine'\n")
    done = run_program(
        tmp_path,
        "import sys, asyncio, mine, umqtt5, umqtt5.aio, pins\n"
        "print(sys.implementation.name, umqtt5.__version__ != '', mine.NAME, sys.stdin.readline())\n",
        "typed\n",
    )
    assert done.stdout == "micropython True mine typed\n\n", done.stderr
    assert done.returncode == 0 and NOTE in done.stderr


@pytest.mark.parametrize(
    ("source", "code", "text"),
    [
        ("1 / 0\n", 1, 'program.py", line 1, in <module>\nZeroDivisionError: divide by zero\n'),
        ("import sys\nsys.exit(7)\n", 7, ""),
        ("def\n", 1, "SyntaxError: invalid syntax\n"),
        ("import nothing\n", 1, "ImportError: no module named 'nothing'\n"),
        ("x = bytearray(100_000_000)\n", 1, "MemoryError: memory allocation failed"),
    ],
)
def test_traceback_and_exit_code_come_through(tmp_path: Path, source: str, code: int, text: str) -> None:
    done = run_program(tmp_path, source)
    assert done.returncode == code, done.stderr
    assert text in done.stderr + done.stdout


def start(folder: Path, source: str) -> subprocess.Popen[str]:
    """Start a program, and wait until it has printed `ready`."""
    (folder / "program.py").write_text(source)
    child = subprocess.Popen(
        command(folder / "program.py"),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout
    for line in child.stdout:
        if line == "ready\n":
            return child
    raise AssertionError("the program did not start")


LOOP = "import time\nprint('ready')\n%s:\n    while True:\n        time.sleep(1)\n%s:\n    print('%s')\n"


def test_ctrl_c_interrupts_the_program_which_may_clean_up(tmp_path: Path) -> None:
    child = start(tmp_path, LOOP % ("try", "finally", "cleaned up"))
    descendants = children(child.pid)
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "cleaned up" in output and "KeyboardInterrupt" in output and "subprocess" not in output
    assert descendants and have_ended(descendants)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_too(tmp_path: Path, number: int) -> None:
    child = start(tmp_path, LOOP % ("try", "except KeyError", ""))
    descendants = children(child.pid)
    child.send_signal(number)
    child.communicate(timeout=20)
    assert child.returncode == 128 + number and descendants and have_ended(descendants)


def test_a_program_that_ignores_ctrl_c_is_killed(tmp_path: Path) -> None:
    source = (
        "import time\nprint('ready')\nwhile True:\n    try:\n        time.sleep(1)\n"
        "    except KeyboardInterrupt:\n        print('no')\n"
    )
    child = start(tmp_path, source)
    descendants = children(child.pid)
    child.send_signal(signal.SIGINT)
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)  # again, at once
    assert child.communicate(timeout=4)[0] == "no\n" and child.returncode == 130
    assert have_ended(descendants)


def test_a_program_in_a_terminal_reads_what_is_typed_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import time\nprint('<' + input('name? ') + '>')\ntime.sleep(60)\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(sys.executable, command(tmp_path / "program.py"))
    output, typed = "", ["anna\r", "\x03"]
    deadline = time.monotonic() + 40
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.1)[0]:
                output += os.read(terminal, 4096).decode()
            if (len(typed) == 2 and "name? " in output) or (len(typed) == 1 and "<anna>" in output):
                os.write(terminal, typed.pop(0).encode())
    except OSError:  # the command has ended
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130, output
    assert "<anna>" in output and not typed


@pytest.mark.parametrize("ports", [[], [SerialPort("/dev/ttyUSB7", "", 1)]])
def test_the_vm_is_used_only_if_no_board_is_connected(
    ports: list[SerialPort],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    used = []
    monkeypatch.setattr(serial_ports, "find_ports", lambda: ports)
    monkeypatch.setattr(serial_ports, "_checked", lambda device: device)
    monkeypatch.setattr(mpremote, "run_interactive", lambda port, *words: used.append(port) or 0)
    path = tmp_path / "program.py"
    path.write_text("import umqtt5\nprint('in the VM')\n")
    with pytest.raises(run.typer.Exit) as ended:
        run.main(path)
    output = capfd.readouterr()
    assert ended.value.exit_code == 0
    assert used == [port.device for port in ports]
    assert output.out == ("" if ports else "in the VM\n")
    assert ("no board is connected: " in output.err) is (not ports)


def test_a_port_or_a_board_that_is_not_there_is_still_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program for a board must not run elsewhere because a cable is loose."""
    monkeypatch.setattr(serial_ports, "find_ports", list)
    path = tmp_path / "program.py"
    path.write_text("print('in the VM')\n")
    with pytest.raises(run.UserError, match="no such port"):
        run.main(path, port="/dev/no-port")
    with pytest.raises(run.UserError, match="No board found"):
        run.main(path, board_key="esp32")
    with pytest.raises(run.UserError, match="exclude each other"):
        run.main(path, port="/dev/no-port", board_key="host")
