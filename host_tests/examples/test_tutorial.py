"""docs/tutorial.md: a reader who types its commands and programs sees what the page shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import broker
from tools.paths import ROOT

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r'^```python title="(\w+\.py)"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL))
# the command of a block, and the output that follows it
SHOWN = dict(re.findall(r"^```sh\n([^`]*)\n```\n\n```text\n([^`]*)^```", PAGE, re.MULTILINE))
TOOLS = (sys.executable, "-u", "-m", "tools")
TIMEOUT = 60  # seconds


class Terminal:
    """A command that runs in a terminal of the reader; `lines` are those that it printed."""

    def __init__(self, *arguments: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*TOOLS, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until `count` lines contain a text."""
        deadline = time.monotonic() + TIMEOUT
        while sum(text in line for line in list(self.lines)) < count:
            assert time.monotonic() < deadline, (text, self.lines)
            time.sleep(0.02)

    def finish(self) -> list[str]:
        """Wait until the command has ended; return what it printed."""
        assert self.process.wait(TIMEOUT) == 0, self.lines
        self._thread.join(10)
        return self.lines

    def press_ctrl_c(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(TIMEOUT)
        self._thread.join(10)


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    running = Terminal(*arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.press_ctrl_c()


def find_two_ports() -> int:
    """Return a free port that is followed by another free one: `make broker PORT=` uses both."""
    while True:
        port = broker.free_port()
        if port < 65000 and not broker.is_reachable(broker.Address("127.0.0.1", port + 1)):
            return port


def test_the_commands_of_the_page_run_the_tools_of_this_test() -> None:
    commands = re.findall(r"^make (?:broker|run) .*$", PAGE, re.MULTILINE)
    assert {"make broker PORT=1883", "make run FILE=hello.py", "make run FILE=panel.py"} <= set(commands)
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    for command, expected in (
        (["make", "-n", "broker", "PORT=1883"], "-m tools broker  --port '1883'"),
        (["make", "-n", "run", "FILE=hello.py"], "-m tools run"),
    ):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert expected in done.stdout, done.stdout


def test_the_tutorial_from_the_broker_to_the_plug(tmp_path: Path) -> None:
    port = str(find_two_ports())
    for name, source in PROGRAMS.items():
        assert '"localhost"' in source
        (tmp_path / name).write_text(source.replace('"localhost"', f'"localhost", {port}'))

    def run(name: str) -> tuple[str, ...]:
        return ("run", "--board", "host", str(tmp_path / name))

    with terminal(*run("thermostat.py")) as without_broker:
        without_broker.wait_for("connection refused")
    with terminal("broker", "--port", port) as running_broker:
        running_broker.wait_for(f"broker at mqtt://127.0.0.1:{port} ")
        with terminal(*run("hello.py")) as hello:
            assert hello.finish()[1:] == SHOWN["make run FILE=hello.py"].splitlines()[1:]
        thermostat = Terminal(*run("thermostat.py"))
        try:
            thermostat.wait_for("connected")
            thermostat.wait_for("19.9")
            with terminal(*run("panel.py")) as panel:
                lines = panel.finish()[1:]
            shown = SHOWN["make run FILE=panel.py"].splitlines()[1:]
            assert set(shown[:2]) <= set(lines) and len(lines) >= len(shown) - 1
            for line in set(lines) - set(shown):
                assert re.fullmatch(r"thermostat/temperature \d\d\.\d", line), lines
            thermostat.wait_for("heating")
            running_broker.press_ctrl_c()
            for text in ("closed by the broker", "connection refused. Is the broker running"):
                assert text in PAGE
                thermostat.wait_for(f"localhost:{port}: {text}")
            with terminal("broker", "--port", port):
                thermostat.wait_for("connected", 2)
        finally:
            thermostat.press_ctrl_c()
