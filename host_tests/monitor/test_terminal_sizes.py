"""The terminal views of monitor and demo at usual sizes: what is readable, keys, filter, ends."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Coroutine
from fcntl import ioctl
from types import SimpleNamespace
from typing import Any

import pytest
from textual.widgets import DataTable, Input

from host_tests.monitor import example_devices
from host_tests.monitor.test_hostile_messages import MARKUP, TEXTS
from host_tests.monitor.test_terminal import wait_until
from host_tests.tools.test_console import controls_in
from tools.broker import Mosquitto
from tools.demo.cards import DemoApp
from tools.monitor.alerts import parse_rule
from tools.monitor.device_state import sanitize
from tools.monitor.model import MonitorModel
from tools.monitor.terminal import MonitorApp
from tools.monitor.terminal_base import DeviceApp
from tools.paths import ROOT

SIZES = ((80, 24), (100, 30), (160, 50))
NAMES = example_devices.device_names(9)
CARDS = ("kitchen", "cellar", "roof")


def screen_lines(app: DeviceApp) -> list[str]:
    """Return the text on the screen."""
    screen = app.screen
    return ["".join(segment.text for segment in line) for line in screen._compositor.render_strips()]


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def make_monitor(broker: Mosquitto) -> MonitorApp:
    example_devices.publish_state(broker.address, "umqtt5", NAMES)
    model = MonitorModel(broker.address, "umqtt5", [parse_rule("*/chip_temperature above 70")])
    model.connect()
    return MonitorApp(model)


def make_demo(broker: Mosquitto, *output: str) -> DemoApp:
    example_devices.publish_state(broker.address, "demo", list(CARDS), with_problems=False)
    model = MonitorModel(broker.address, "demo", [], shared_broker=False)
    model.connect()
    processes: Any = [SimpleNamespace(console_lines=deque(output)) for _ in CARDS]
    return DemoApp(model, CARDS, processes, lambda: True)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_monitor_is_readable(private_broker: Mosquitto, size: tuple[int, int]) -> None:
    async def main() -> None:
        app = make_monitor(private_broker)
        async with app.run_test(size=size) as pilot:
            await wait_until(lambda: len(app.query_one("#devices", DataTable).rows) == len(NAMES))
            await pilot.press("down", "down")
            await wait_until(lambda: app.device == NAMES[2])
            await wait_until(lambda: "garden" in "".join(screen_lines(app)))
            await wait_until(lambda: "next plot" in screen_lines(app)[-1])
            app.show_all()
            await pilot.pause()
            lines = screen_lines(app)
            text = "\n".join(lines)
            assert len(lines) == size[1] and all(name in text for name in NAMES), text
            for word in ("air/temperature", "°C", "dBm", "1 garden OFF", "● online", "○ offline"):
                assert word in text, text
            assert re.search(r"8 of 9 online, \d alerts", lines[0]), lines[0]
            for key in ("↑↓ device", "q quit", "/ filter", "1-4 switches"):
                assert key in lines[-1], lines[-1]
            assert "events and commands" in text and "ALERT" in text
            # nothing has to be scrolled sideways
            assert not any(table.show_horizontal_scrollbar for table in app.query(DataTable))
            await pilot.press("q")
        app.model.close()
        assert app.return_code == 0

    run(main)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_cards_of_the_demo_are_readable(private_broker: Mosquitto, size: tuple[int, int]) -> None:
    async def main() -> None:
        app = make_demo(private_broker)
        async with app.run_test(size=size) as pilot:
            await wait_until(lambda: "".join(screen_lines(app)).count("healthy") == len(CARDS))
            await wait_until(lambda: "4-6 relays" in screen_lines(app)[-1])
            lines = screen_lines(app)
            text = "\n".join(lines)
            for name in CARDS:
                assert f"{name} ● online" in text, text
            assert text.count("air temperature") + text.count("air/temperature") == len(CARDS), text
            assert text.count("dBm") >= len(CARDS) and text.count("up for 3 d") == len(CARDS), text
            for key in ("q quit", "/ filter", "1-3 lamps", "4-6 relays"):
                assert key in lines[-1], lines[-1]
            await pilot.press("1")
            await wait_until(lambda: "kitchen: lamp: TOGGLE: sent" in str(app.query_one("#events").visual))
            await pilot.press("ctrl+c")
        app.model.close()
        assert app.return_code == 0

    run(main)


def test_the_cards_show_what_devices_send_as_text(private_broker: Mosquitto) -> None:
    async def main() -> None:
        app = make_demo(private_broker, *TEXTS)
        async with app.run_test(size=(160, 50)):
            await wait_until(lambda: len(app.model.monitor.devices) == len(CARDS))
            state = app.model.monitor.devices["kitchen"]
            for text in TEXTS:
                state.status = state.health["safe_mode"] = state.switches["pump"] = sanitize(text)
                app.show_all()
                await asyncio.sleep(0)
                shown = "\n".join(screen_lines(app))
                assert controls_in(shown.replace("\n", "")) == set()
                if text == MARKUP:
                    await wait_until(lambda: MARKUP in "".join(screen_lines(app)))
            assert app.is_running
        app.model.close()

    run(main)


def test_the_filter_shows_the_devices_that_match(private_broker: Mosquitto) -> None:
    async def main() -> None:
        app = make_monitor(private_broker)
        async with app.run_test(size=(100, 30)) as pilot:
            table = app.query_one("#devices", DataTable)
            await wait_until(lambda: len(table.rows) == len(NAMES))
            for typed, expected in (("kit 1", ["kitchen-01"]), ("offline", ["kitchen-01"]), ("zzz", [])):
                await pilot.press("slash", *(key if key != " " else "space" for key in typed))
                await wait_until(lambda names=expected: [str(key.value) for key in table.rows] == names)
                await pilot.press("escape")
                await wait_until(lambda: len(table.rows) == len(NAMES))
                assert not app.query_one("#filter", Input).has_class("shown")
            await pilot.press("slash", "q")  # a letter of the filter, not the key that quits
            assert app.is_running
        app.model.close()

    run(main)


class Terminal:
    """A command on a pseudo-terminal with a size."""

    def __init__(self, *arguments: str, columns: int = 80, rows: int = 24) -> None:
        pid, self._fd = pty.fork()
        if pid == 0:
            os.chdir(ROOT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.environ["TERM"] = "xterm-256color"
            os.environ.pop("COLUMNS", None)
            os.environ.pop("LINES", None)
            ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execv(sys.executable, [sys.executable, "-m", "tools", *arguments])
        self.pid = pid
        self.modes = termios.tcgetattr(self._fd)
        self.output = ""

    def read_until(self, text: str, seconds: float = 60) -> None:
        """Read the output until it has `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < deadline, self.output[-2000:]
            self._read()

    def _read(self) -> None:
        if select.select([self._fd], [], [], 0.1)[0]:
            self.output += os.read(self._fd, 65536).decode(errors="replace")

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._fd, keys.encode())

    def wait(self, seconds: float = 60) -> int:
        """Return the exit code of the command."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._read()
            except OSError:
                pass  # the command has closed the terminal
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(self.output[-2000:])

    def assert_restored(self) -> None:
        """Check that the terminal is as it was: main screen, cursor, no mouse reports, modes."""
        for on, off in (
            ("\x1b[?1049h", "\x1b[?1049l"),
            ("\x1b[?25l", "\x1b[?25h"),
            ("\x1b[?1000h", "\x1b[?1000l"),
        ):
            assert self.output.count(on) and self.output.rindex(off) > self.output.rindex(on), (on, off)
        assert termios.tcgetattr(self._fd)[:4] == self.modes[:4]


def _end_by_key(key: str) -> Callable[[Terminal], None]:
    return lambda terminal: terminal.press(key)


def _end_by_signal(number: int) -> Callable[[Terminal], None]:
    return lambda terminal: os.kill(terminal.pid, number)


ENDS = {
    "q": (_end_by_key("q"), 0),
    "ctrl-c": (_end_by_key("\x03"), 0),
    "sigint": (_end_by_signal(signal.SIGINT), 0),
    "sigterm": (_end_by_signal(signal.SIGTERM), 143),
    "sighup": (_end_by_signal(signal.SIGHUP), 129),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_monitor_restores_the_terminal(private_broker: Mosquitto, end: str) -> None:
    port = private_broker.address.port
    terminal = Terminal("monitor", "--broker", f"mqtt://127.0.0.1:{port}", "--no-history")
    terminal.read_until("events and commands")
    action, code = ENDS[end]
    action(terminal)
    assert terminal.wait() == code
    terminal.assert_restored()


def test_the_monitor_ends_after_its_seconds_in_a_terminal(private_broker: Mosquitto) -> None:
    port = private_broker.address.port
    terminal = Terminal("monitor", "--broker", f"mqtt://127.0.0.1:{port}", "--no-history", "--seconds", "1")
    assert terminal.wait() == 0
    terminal.assert_restored()


def test_plain_prints_lines_in_a_terminal(private_broker: Mosquitto) -> None:
    example_devices.publish_state(private_broker.address, "umqtt5", ["cellar"], with_problems=False)
    port = private_broker.address.port
    terminal = Terminal("monitor", "--broker", f"mqtt://127.0.0.1:{port}", "--plain", columns=200)
    terminal.read_until("cellar: online: air/humidity")
    assert "\x1b[?1049h" not in terminal.output
    terminal.press("\x03")
    assert terminal.wait() == 0


@pytest.mark.parametrize("end", ("q", "sigterm"))
def test_the_demo_restores_the_terminal(end: str) -> None:
    terminal = Terminal("demo")
    terminal.read_until("healthy")
    action, code = ENDS[end]
    action(terminal)
    assert terminal.wait() == code
    terminal.assert_restored()
