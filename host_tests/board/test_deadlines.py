"""Every command ends, whatever the port does, and says which port, what was being done, and what to do."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from host_tests.board.hostile_port import BEHAVIORS, HostilePort
from host_tests.board.rig import fake_firmware
from tools import deadlines
from tools.board.exchange import Exchanges
from tools.bundle import image
from tools.deadlines import COMMANDS, EXCHANGES, Deadline, DeadlineError
from tools.paths import ROOT

_SCALE = "0.1"  # of the deadlines, in the commands of these tests
_LIMIT = 250  # seconds; only a command without end takes that long
_ALL = BEHAVIORS
_NOT_SILENT = ("vanishing", "used", "blocked")  # `logs` prints what it receives, until Ctrl-C

# command line without the port: the behaviors after which it fails
_COMMANDS = {
    ("ls",): _ALL,
    ("deploy", "--board", "esp32"): _ALL,
    ("provision", "--board", "esp32", "--set", "health=5"): _ALL,
    ("erase", "--board", "esp32", "--files-only", "--yes"): _ALL,
    ("erase", "--board", "esp32", "--yes"): _ALL,
    ("flash", "--board", "esp32", "--new-config", "--firmware", "FIRMWARE"): _ALL,
    ("run", "FILE"): _ALL,
    ("logs", "--restart"): _ALL,
    ("logs",): ("used",),
    ("doctor",): _ALL,
}


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
def test_each_command_ends_whatever_the_port_does(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "FIRMWARE").write_bytes(fake_firmware("esp32"))
    (tmp_path / "FILE").write_text("print(1)")
    image.build_image("esp32")  # not in the time of the commands, which run at the same time
    words = [str(tmp_path / word) if word.isupper() else word for word in command]
    environment = dict(
        os.environ, UMQTT5_DEADLINE_SCALE=_SCALE, XDG_STATE_HOME=str(tmp_path / "state"), COLUMNS="300"
    )
    with contextlib.ExitStack() as stack:
        running = {}
        for behavior in _COMMANDS[command]:
            port = stack.enter_context(HostilePort(tmp_path, behavior)).port
            running[behavior, port] = subprocess.Popen(
                [sys.executable, "-m", "tools", *words, "--port", port],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            stack.callback(running[behavior, port].kill)
        for (behavior, port), process in running.items():
            output = process.communicate(timeout=_LIMIT)[0]
            assert process.returncode == 1, (behavior, output)
            assert "Traceback" not in output, (behavior, output)
            assert port in output, (behavior, output)
            remedies = ("reset button", "lug", "Close it", "close the program", "Check that", "RESET", "end ")
            assert any(remedy in output for remedy in remedies), (behavior, output)


@pytest.mark.parametrize("command", ["repl", "logs"])
def test_a_port_that_disappears_ends_a_command_without_deadline(command: str, tmp_path: Path) -> None:
    master, slave = os.openpty()  # the terminal of the user
    with HostilePort(tmp_path, "silent") as hostile:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools", command, "--port", hostile.port],
            cwd=ROOT,
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout
        output = b""
        try:
            while b"printed" not in output:  # what was sent before the port was opened is lost
                hostile.send(b"printed by the board\r\n")
                if select.select([process.stdout], [], [], 0.1)[0]:
                    output += os.read(process.stdout.fileno(), 4096)
                assert process.poll() is None, output
            hostile.vanish()
            output += process.communicate(timeout=_LIMIT)[0]
        finally:
            process.kill()
            os.close(master)
            os.close(slave)
    assert process.returncode == 1, output
    assert b"Traceback" not in output and b"Plug it in" in output, output


def test_an_exchange_fails_after_its_deadline_whatever_it_receives() -> None:
    now = [0.0]
    exchanges = Exchanges(100, lambda: now[0])
    with pytest.raises(DeadlineError, match=r"no answer within 5 s while copying x \(sending\)"):
        with exchanges.exchange("copying x", 50), exchanges.exchange("sending", 5):
            exchanges.check()
            now[0] = 5.1
            exchanges.check()
    with pytest.raises(DeadlineError):  # the clean-up of mpremote does not begin again
        exchanges.check()


def test_the_total_of_all_exchanges_is_limited() -> None:
    now = [0.0]
    exchanges = Exchanges(100, lambda: now[0])
    with pytest.raises(DeadlineError, match="not finished within 100 s, although the port sends data"):
        for _ in range(30):
            with exchanges.exchange("copying", 5):
                now[0] += 4
                exchanges.count(1)
                exchanges.check()
    assert now[0] == 104


def test_the_time_in_which_the_user_is_asked_does_not_count() -> None:
    now = [0.0]
    deadline = Deadline("deploy", 10, lambda: now[0])
    now[0] = 4
    with deadline.paused():
        now[0] = 1000
        assert deadline.remaining() == 6
        with deadline.paused():
            pass
    now[0] = 1005
    assert deadline.limit(30, "copying") == 1
    now[0] = 1007
    with pytest.raises(DeadlineError, match="deploy: not finished within its 10 s; it was copying"):
        deadline.limit(30, "copying")


def test_a_function_that_hangs_is_left_after_its_deadline() -> None:
    import threading

    release = threading.Event()
    deadlines.begin(None)
    with pytest.raises(DeadlineError, match="too slow"):
        deadlines.call_within(0.01, release.wait, "too slow")
    release.set()
    assert deadlines.call_within(10, lambda: 3, "too slow") == 3
    with pytest.raises(ZeroDivisionError):
        deadlines.call_within(10, lambda: 1 // 0, "too slow")


def test_the_documentation_lists_each_deadline() -> None:
    text = (ROOT / "docs" / "deadlines.md").read_text()
    for name, entry in COMMANDS.items():
        seconds = f"{entry.seconds:g} s" if entry.seconds else "none"
        assert f"| `{name}` | {seconds} | {entry.note} |" in text
    for name, limit in EXCHANGES.items():
        assert f"| {name} | {limit:g} s |" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and line.endswith(" |")]
    assert len(rows) == len(COMMANDS) + len(EXCHANGES) + 2
