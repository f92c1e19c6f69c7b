"""A fleet onto boards, one after the other: the real esptool and mpremote, boards on a cable."""

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


class Line:
    """The command as it runs, and its output as it comes."""

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
    def said(self) -> str:
        return self._log.read_text()

    def wait_until(self, condition: Callable[[], object]) -> None:
        ends = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < ends, self.said
            time.sleep(0.05)

    def wait(self) -> int:
        return self._process.wait(60)

    def cut(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(autouse=True)
def _private_state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield


def of_an_earlier_life(rig: Rig) -> FlashChip:
    """Another board, which was a device already: nothing of that may stay."""
    flash, micropython = FlashChip(), fake_firmware("esp32")
    flash.data[0x1000 : 0x1000 + len(micropython)] = micropython
    flash.data[0x200000] = 0  # with a file system
    shutil.rmtree(rig.filesystem)
    rig.filesystem.mkdir()
    old = {"host": "10.0.0.9", "port": 1999, "user": "old", "keep_alive": 7}
    (rig.filesystem / "config.json").write_text(json.dumps({"device": "old", "prefix": "old", "broker": old}))
    return flash


def test_one_board_after_the_other_and_a_run_that_was_cut_goes_on(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    path = write_description(("count = 3", "count = 2"))
    rig = Rig("esp32", tmp_path, broker.Address("localhost", 1))
    port = f"{tmp_path / 'files'}-port"
    options = ("--file", path, "--out", tmp_path / "out", "--port", port, "--firmware", rig.firmware_path)
    line = Line(tmp_path / "log", *options)
    with rig.plug_in():
        line.wait_until(lambda: "label: greenhouse-001 · ESP32 · localhost" in line.said)
        config = json.loads((rig.filesystem / "config.json").read_text())
        assert config["device"] == config["broker"]["user"] == "greenhouse-001"
        own = tmp_path / "out" / "greenhouse-001"
        for name in ("ca.pem", "cert.pem", "key.pem"):
            assert (rig.filesystem / name).read_bytes() == (own / name).read_bytes()
        assert (rig.filesystem / "main.py").exists()
        # as long as it is plugged in, it gets no second name
        time.sleep(1)
        assert json.loads((rig.filesystem / "config.json").read_text()) == config
        line.cut()
    assert config["broker"]["password"] not in line.said and "PRIVATE" not in line.said

    states = {
        one["name"]: one["state"] for one in json.loads(run_tool("fleet", "list", "--file", path, "--json"))
    }
    assert states["greenhouse-001"].startswith("20") and states["greenhouse-002"] == "not flashed"

    line = Line(tmp_path / "log", *options)
    rig.flash = of_an_earlier_life(rig)
    with rig.plug_in():
        assert line.wait() == 0, line.said
    assert "greenhouse-001 (" not in line.said
    config = json.loads((rig.filesystem / "config.json").read_text())
    assert config["device"] == "greenhouse-002" and config["prefix"] == "farm"
    assert "port" not in config["broker"] and "keep_alive" not in config["broker"]
    assert "all selected devices are flashed" in run_tool("fleet", "flash", *options)

    # whoever has changed in the description is due again, and nobody else
    path = write_description(
        ("count = 3", "count = 2"), ('"relay"\n', '"relay"\n\n[[devices]]\nnumber = 2\nhealth = 5\n')
    )
    listed = run_tool("fleet", "list", "--file", path).splitlines()
    assert "changed since" not in listed[0] and listed[1].endswith("changed since")


def test_a_name_that_is_not_of_this_fleet(write_description: WriteDescription, tmp_path: Path) -> None:
    options = ("--file", write_description(), "--out", tmp_path / "out")
    assert "shed-9 is not a device of this fleet" in run_tool("fleet", "flash", "shed-9", *options, code=1)
