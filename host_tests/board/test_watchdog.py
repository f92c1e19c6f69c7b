"""A device whose watchdog runs can be deployed and provisioned, and a command can be killed at any moment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tests.board.rig import run_tool
from host_tests.board.simulated_board import SimulatedBoard
from tools import deploy as deploying
from tools.board import mpremote
from tools.bundle import image
from tools.paths import ROOT

_SCALE = 0.6  # of the watchdog's 8 s
_KILL_AT = (0.05, 0.3, 0.6, 0.8, 0.97)  # shares of the bytes that a command sends
_WATCHED_MAIN = """
import machine, time
watchdog = machine.WDT(timeout=8000)
while True:
    watchdog.feed()
    time.sleep_ms(20)
"""
_CONFIG = {"device": "dut", "broker": {"host": "broker.lan"}, "wifi": {"ssid": "home"}, "health": 7}


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until the condition holds. Fails after `seconds`."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.fixture
def watched_board(tmp_path: Path) -> SimulatedBoard:
    """A board with a program that has started the watchdog, and a config."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "main.py").write_text(_WATCHED_MAIN)
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    return SimulatedBoard(folder, watchdog_scale=_SCALE)


@pytest.mark.parametrize("chip", ["esp32", "rpi_pico_w"])
def test_a_watchdog_that_runs_is_fed_while_a_device_is_deployed(chip: str, tmp_path: Path) -> None:
    wanted = deploying.hash_files(image.build_image(chip))
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "main.py").write_text(_WATCHED_MAIN)
    with SimulatedBoard(
        folder, watchdog_scale=_SCALE, microcontroller="rp2040" if chip == "rpi_pico_w" else "esp32"
    ) as board:
        wait_until(lambda: bool(board.io["watchdog"]))
        run_tool("deploy", "--board", chip, "--port", board.port, "--no-start")
        assert board.watchdog_resets == 0
        assert wanted.items() <= deploying.hash_files(folder).items()
        wait_until(lambda: board.watchdog_resets > 0)  # it has been running all the time


def test_a_watchdog_that_runs_is_fed_while_a_device_is_provisioned(watched_board: SimulatedBoard) -> None:
    with watched_board as board:
        wait_until(lambda: bool(board.io["watchdog"]))
        words = ("--board", "esp32", "--port", board.port, "--set", "health=5", "--no-start")
        run_tool("provision", *words)
        assert board.watchdog_resets == 0
        assert json.loads((board.folder / "config.json").read_text())["health"] == 5


def test_a_watchdog_that_does_not_run_is_not_started(micropython_board: SimulatedBoard) -> None:
    assert mpremote.run(micropython_board.port, "exec", "feed_watchdog(); print(1)").strip() == "1"
    assert micropython_board.io["watchdog"] == ""


def kill_at(board: SimulatedBoard, received: int, *arguments: str) -> None:
    """Run a command, and kill it when the board has received that many bytes from it."""
    before = board.received
    process = subprocess.Popen(
        [sys.executable, "-m", "tools", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and board.received - before < received:
        time.sleep(0.001)
    process.kill()
    process.wait()


def damage(board: SimulatedBoard) -> None:
    """Give the board its config, a program that starts the watchdog, and some wrong files."""
    shutil.copytree(image.build_image("esp32"), board.folder, dirs_exist_ok=True)
    (board.folder / "config.json").write_text(json.dumps(_CONFIG))
    (board.folder / "main.py").write_text(_WATCHED_MAIN)
    (board.folder / "app" / "obsolete.mpy").write_bytes(b"old")
    for name in ("app/node.mpy", "umqtt5/core.mpy"):
        (board.folder / name).write_bytes(b"damaged")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["deploy", "provision"])
def test_after_a_command_was_killed_at_any_moment_the_next_run_completes_it(
    command: str, watched_board: SimulatedBoard
) -> None:
    wanted = deploying.hash_files(image.build_image("esp32"))
    with watched_board as board:
        words = [command, "--board", "esp32", "--port", board.port, "--no-start"]
        words += ["--set", "health=5"] if command == "provision" else []

        def is_complete() -> bool:
            found = deploying.hash_files(board.folder)
            if command == "deploy":
                return wanted.items() <= found.items() and "app/obsolete.mpy" not in found
            return bool(json.loads((board.folder / "config.json").read_text())["health"] == 5)

        damage(board)
        before = board.received
        run_tool(*words)
        size = board.received - before
        assert is_complete()
        for share in _KILL_AT:
            damage(board)
            kill_at(board, int(size * share), *words)
            config = json.loads((board.folder / "config.json").read_text())
            assert config == _CONFIG or (command == "provision" and config["health"] == 5)
            run_tool(*words)
            assert is_complete()
