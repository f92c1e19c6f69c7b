"""`fleet flash` with the real esptool and mpremote on simulated boards, which are plugged in one by one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host_tests.board.rig import Rig, fake_firmware, run_tool
from host_tests.board.simulated_board import FlashChip
from host_tests.fleet.conftest import WriteDescription
from tools import broker
from tools.paths import ROOT


class FlashCommand:
    """A running `fleet flash` whose output can be read while it runs."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "tools", "fleet", "flash", *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )

    @property
    def output(self) -> str:
        """The output so far."""
        return self._log.read_text()

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()` is true, for up to 60 s."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def wait(self) -> int:
        """Wait for the end of the command and return its exit code."""
        return self._process.wait(60)

    def kill(self) -> None:
        """Kill the command, as a power failure would."""
        self._process.kill()
        self._process.wait()


@pytest.fixture(autouse=True)
def _private_state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield


def make_used_board(rig: Rig) -> FlashChip:
    """Return the flash of a used board, and write its old config. `fleet flash` must erase both."""
    flash, micropython = FlashChip(), fake_firmware("esp32")
    flash.data[0x1000 : 0x1000 + len(micropython)] = micropython
    flash.data[0x200000] = 0  # marks the filesystem as not erased
    shutil.rmtree(rig.filesystem)
    rig.filesystem.mkdir()
    old = {"host": "10.0.0.9", "port": 1999, "user": "old", "keep_alive": 7}
    (rig.filesystem / "config.json").write_text(json.dumps({"device": "old", "prefix": "old", "broker": old}))
    return flash


def test_boards_are_flashed_one_after_the_other_and_an_interrupted_run_resumes(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    path = write_description(("count = 3", "count = 2"))
    rig = Rig("esp32", tmp_path, broker.Address("localhost", 1))
    port = f"{tmp_path / 'files'}-port"
    options = ("--file", path, "--out", tmp_path / "out", "--port", port, "--firmware", rig.firmware_path)
    command = FlashCommand(tmp_path / "log", *options)
    with rig.plug_in():
        command.wait_until(lambda: "label: greenhouse-001 · ESP32 · localhost" in command.output)
        config = json.loads((rig.filesystem / "config.json").read_text())
        assert config["device"] == config["broker"]["user"] == "greenhouse-001"
        generated = tmp_path / "out" / "greenhouse-001"
        for name in ("ca.pem", "cert.pem", "key.pem"):
            assert (rig.filesystem / name).read_bytes() == (generated / name).read_bytes()
        assert (rig.filesystem / "main.py").exists()
        # a board that stays plugged in is not flashed as the next device
        time.sleep(1)
        assert json.loads((rig.filesystem / "config.json").read_text()) == config
        command.kill()
    assert config["broker"]["password"] not in command.output and "PRIVATE" not in command.output

    states = {
        device["name"]: device["state"]
        for device in json.loads(run_tool("fleet", "list", "--file", path, "--json"))
    }
    assert states["greenhouse-001"].startswith("20") and states["greenhouse-002"] == "not flashed"

    command = FlashCommand(tmp_path / "log", *options)
    rig.flash = make_used_board(rig)
    with rig.plug_in():
        assert command.wait() == 0, command.output
    assert "greenhouse-001 (" not in command.output
    config = json.loads((rig.filesystem / "config.json").read_text())
    assert config["device"] == "greenhouse-002" and config["prefix"] == "farm"
    assert "port" not in config["broker"] and "keep_alive" not in config["broker"]
    assert "all selected devices are flashed" in run_tool("fleet", "flash", *options)

    # `fleet list` marks only devices whose description has changed
    path = write_description(
        ("count = 3", "count = 2"), ('"relay"\n', '"relay"\n\n[[devices]]\nnumber = 2\nhealth = 5\n')
    )
    listed = run_tool("fleet", "list", "--file", path).splitlines()
    assert "changed since" not in listed[0] and listed[1].endswith("changed since")


def test_a_name_that_is_not_in_the_fleet_is_reported(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    options = ("--file", write_description(), "--out", tmp_path / "out")
    assert "shed-9 is not a device of this fleet" in run_tool("fleet", "flash", "shed-9", *options, code=1)
