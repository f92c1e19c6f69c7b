"""What the tests with a board share: the tools as a person runs them, firmware, boards to plug in."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from host_tests.board.simulated_board import FILE_SYSTEM, FlashChip, SimulatedBoard
from tools.board import definition, esptool
from tools.broker import Address
from tools.bundle import image
from tools.paths import ROOT

_UF2 = bytes.fromhex("5546320a57515d9e")
_FAMILY = 0xE48BFF56  # RP2040
SECRET = "not for any eye"
_SIZE = 60000  # bytes of a firmware in the tests


def run_tool(*arguments: object, code: int = 0, **environment: str) -> str:
    """Run `python -m tools ...`, check its exit code; returns what it said."""
    return run_command([sys.executable, "-m", "tools", *map(str, arguments)], code, **environment)


def run_command(command: Sequence[str], code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=dict(os.environ, COLUMNS="200", **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    assert done.returncode == code, done.stdout
    assert "Traceback (most recent call last)" not in done.stdout, done.stdout
    return done.stdout


def run_failing_tool(*arguments: object, **environment: str) -> str:
    """Run a tool that fails; returns the line that it says."""
    said = run_tool(*arguments, code=1, **environment).strip().splitlines()
    return said[-1]


def fake_firmware(key: str) -> bytes:
    """What looks like MicroPython for a board, as far as anybody looks before it runs."""
    target = definition.load_board(key)
    assert target.firmware
    body = bytearray(random.Random(key).randbytes(_SIZE))
    if target.firmware.format == "uf2":
        body[:8] = _UF2
        body[28:32] = _FAMILY.to_bytes(4, "little")
    else:
        body[0] = 0xE9
        body[12:14] = esptool.chip_definition(target).IMAGE_CHIP_ID.to_bytes(2, "little")
    return bytes(body)


@dataclass
class Rig:
    """One board of a kind, in a folder of the test's. `plug_in`, pull it out, plug it in again."""

    key: str
    folder: Path
    broker: Address
    flash: FlashChip = field(default_factory=FlashChip)

    @property
    def firmware_path(self) -> Path:
        """The firmware, for `--firmware`."""
        path = self.folder / f"micropython.{'uf2' if self.drive else 'bin'}"
        if not path.exists():
            path.write_bytes(fake_firmware(self.key))
        return path

    @property
    def drive(self) -> Path | None:
        return self.folder / "drive" if definition.load_board(self.key).chip.startswith("rp2") else None

    @property
    def filesystem(self) -> Path:
        """The board's own file system."""
        return self.folder / "files"

    def preinstall(self, **fields: object) -> None:
        """Make it the device that it is when everything has been done; `fields` are of its config."""
        if not self.drive:
            content, at = fake_firmware(self.key), esptool.flash_offset(definition.load_board(self.key))
            self.flash.data[at : at + len(content)] = content
            self.flash.data[FILE_SYSTEM] = 0
        shutil.copytree(image.build_image(self.key), self.filesystem, dirs_exist_ok=True)
        settings = {
            "device": "dut",
            "prefix": "test",
            "broker": {"host": self.broker.host, "port": self.broker.port},
            "wifi": {"ssid": "home", "password": SECRET},
            "sensors": [{"kind": "chip_temperature", "period": 10}],
        }
        (self.filesystem / "config.json").write_text(json.dumps({**settings, **fields}))

    def plug_in(self, unplug_after_bytes: int | None = None) -> SimulatedBoard:
        target = definition.load_board(self.key)
        content = fake_firmware(self.key)
        if self.drive:
            return SimulatedBoard(
                self.filesystem, drive=self.drive, firmware=content, unplug_after_bytes=unplug_after_bytes
            )
        return SimulatedBoard(
            self.filesystem,
            chip=target.chip,
            firmware=content,
            offset=esptool.flash_offset(target),
            flash=self.flash,
            unplug_after_bytes=unplug_after_bytes,
        )

    def flash_options(self, cable: SimulatedBoard) -> list[str]:
        """Those of `flash` for this board."""
        given = ["--board", self.key, "--port", cable.port, "--firmware", str(self.firmware_path)]
        return given + (["--drive", str(self.drive)] if self.drive else [])

    @property
    def config_options(self) -> list[str]:
        """Options that make a config for the broker of the test."""
        fields = {
            "device": "dut",
            "prefix": "test",
            "wifi.ssid": "home",
            "wifi.password": SECRET,
            "broker.host": self.broker.host,
            "broker.port": self.broker.port,
        }
        return [word for key, value in fields.items() for word in ("--set", f"{key}={value}")]
