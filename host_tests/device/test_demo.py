"""`make demo` on a terminal and without one, and the first Python example of the README."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import broker
from tools.paths import ROOT

DEMO = [sys.executable, "-m", "tools", "demo"]


def children(pid: int) -> set[int]:
    """Return the ids of all descendants of a process."""
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(path.parent.name)
            found |= {child} | children(child)
    return found


def is_running(pid: int) -> bool:
    """Return True if the process runs and is not a zombie."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def have_ended(pids: set[int], timeout: float = 10) -> bool:
    """Wait until none of the processes runs. Return False after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not any(is_running(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


def demo(*arguments: str, typed: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *arguments], cwd=ROOT, input=typed, capture_output=True, text=True, timeout=timeout
    )


@pytest.mark.parametrize("choice", ["iotcore", "mosquitto"])
def test_the_demo_ends_after_its_seconds_and_reports_every_device(
    choice: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(choice)
    done = demo("--broker", choice, "--seconds", "12", typed="kitchen relay ON\nnonsense\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 devices published readings; each executed and confirmed a command" in done.stdout
    assert "nonsense: expected a line such as kitchen lamp ON" in done.stdout
    for name in ("kitchen", "cellar", "roof"):
        assert re.search(rf"^{name}: online: .*load .*heap free [\d,]+ B", done.stdout, re.MULTILINE)
        assert re.search(rf"^{name}: .*aliases saved [1-9][\d,]* B", done.stdout, re.MULTILINE)


def test_the_demo_runs_with_an_external_broker(mosquitto: broker.Address) -> None:
    done = demo("--broker", f"mqtt://127.0.0.1:{mosquitto.port}", "--seconds", "10")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_demo_fails_without_a_broker_and_says_why() -> None:
    done = demo("--broker", f"mqtt://127.0.0.1:{broker.free_port()}", "--seconds", "10")
    assert done.returncode == 1
    assert "the broker does not answer. Start it, or check host and port" in done.stdout
    done = demo("--broker", "rabbit", "--seconds", "10")
    assert done.returncode == 1
    assert "expected iotcore, mosquitto, mqtt://host:port or mqtts://host:port" in done.stdout


class Terminal:
    """The demo on a pseudo-terminal."""

    def __init__(self) -> None:
        pid, self._fd = pty.fork()
        if pid == 0:
            os.chdir(ROOT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell sets background jobs to ignore SIGINT
            os.environ.update(TERM="xterm-256color", COLUMNS="140", LINES="40")
            os.execv(sys.executable, DEMO)
        self.pid = pid
        self.output = ""

    def wait_until(self, text: str, timeout: float = 20) -> None:
        """Read the output until it contains `text`."""
        deadline = time.monotonic() + timeout
        while text not in self.output:
            assert time.monotonic() < deadline, self.output[-3000:]
            if select.select([self._fd], [], [], 0.1)[0]:
                self.output += os.read(self._fd, 65536).decode(errors="replace")

    def press(self, key: str) -> None:
        """Discard the output so far and press a key."""
        self.output = ""
        os.write(self._fd, key.encode())

    def wait(self) -> int:
        """Wait for the end of the demo and return its exit code."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                if select.select([self._fd], [], [], 0.1)[0]:
                    self.output += os.read(self._fd, 65536).decode(errors="replace")
            except OSError:
                pass  # the demo has closed the terminal
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self._fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("the demo does not end: " + self.output[-3000:])


def test_keys_switch_outputs_in_the_demo_and_ctrl_c_ends_all_its_processes() -> None:
    terminal = Terminal()
    terminal.wait_until("aliases saved")
    terminal.wait_until("lamp")
    terminal.wait_until("roof: online")
    terminal.press("3")
    terminal.wait_until("roof: lamp is ")
    terminal.press("6")
    terminal.wait_until("roof: relay is ")
    descendants = children(terminal.pid)
    assert len(descendants) >= 4  # three devices and the broker
    terminal.press("\x03")  # Ctrl-C
    assert terminal.wait() == 0
    assert have_ended(descendants)


def test_terminating_the_demo_ends_all_its_processes() -> None:
    child = subprocess.Popen(DEMO, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert child.stdout
    for line in child.stdout:
        if "roof: online" in line:
            break
    descendants = children(child.pid)
    assert len(descendants) >= 4
    child.terminate()
    child.communicate(timeout=15)
    assert child.returncode == 128 + signal.SIGTERM
    assert have_ended(descendants)
