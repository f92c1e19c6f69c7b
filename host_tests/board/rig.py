"""Helpers for the board tests: run a command-line tool, make firmware files, plug in boards."""

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

from host_tests.board.simulated_board import FILESYSTEM_OFFSET, FlashChip, SimulatedBoard
from tools.board import definition, esptool
from tools.broker import Address
from tools.bundle import image
from tools.paths import ROOT

_UF2 = bytes.fromhex("5546320a57515d9e")
_FAMILY = 0xE48BFF56  # UF2 family ID of the RP2040
SECRET = "never print this"  # the Wi-Fi password
_SIZE = 60000  # size of a test firmware file in bytes


def run_tool(*arguments: object, code: int = 0, **environment: str) -> str:
    """Run `python -m tools ...`, check its exit code and return its output."""
    return run_command([sys.executable, "-m", "tools", *map(str, arguments)], code, **environment)


def run_command(
    command: Sequence[str], code: int = 0, *, cwd: Path = ROOT, timeout: float = 100, **environment: str
) -> str:
    """Run a command, check its exit code and return its output. Fails if it prints a traceback."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=dict(os.environ, COLUMNS="200", **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == code, done.stdout
    assert "Traceback (most recent call last)" not in done.stdout, done.stdout
    return done.stdout


def run_failing_tool(*arguments: object, **environment: str) -> str:
    """Run a tool that fails, and return the last line of its output."""
    return run_tool(*arguments, code=1, **environment).strip().splitlines()[-1]


def fake_firmware(key: str) -> bytes:
    """Return random bytes with the header of a firmware file for this board. Tools check only the header."""
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
    """A board of type `key` that can be plugged in several times; its state is in `folder` and `flash`."""

    key: str
    folder: Path
    broker: Address
    flash: FlashChip = field(default_factory=FlashChip)

    @property
    def firmware_path(self) -> Path:
        """Path of the firmware file, for `--firmware`."""
        path = self.folder / f"micropython.{'uf2' if self.drive else 'bin'}"
        if not path.exists():
            path.write_bytes(fake_firmware(self.key))
        return path

    @property
    def drive(self) -> Path | None:
        """Folder of the UF2 bootloader, None if the board has none."""
        return self.folder / "drive" if definition.load_board(self.key).chip.startswith("rp2") else None

    @property
    def filesystem(self) -> Path:
        """Folder with the filesystem of the board."""
        return self.folder / "files"

    def preinstall(self, **fields: object) -> None:
        """Install firmware, application and a config. `fields` replace fields of the config."""
        if not self.drive:
            content, offset = fake_firmware(self.key), esptool.flash_offset(definition.load_board(self.key))
            self.flash.data[offset : offset + len(content)] = content
            self.flash.data[FILESYSTEM_OFFSET] = 0
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
        """Plug in the board and return it. It is unplugged after more than `unplug_after_bytes` bytes."""
        target = definition.load_board(self.key)
        content = fake_firmware(self.key)
        if self.drive:
            return SimulatedBoard(
                self.filesystem,
                drive=self.drive,
                drive_id="RP2350" if target.chip == "rp2350" else "RPI-RP2",
                firmware=content,
                unplug_after_bytes=unplug_after_bytes,
            )
        return SimulatedBoard(
            self.filesystem,
            chip=target.chip,
            firmware=content,
            offset=esptool.flash_offset(target),
            flash=self.flash,
            unplug_after_bytes=unplug_after_bytes,
        )

    def flash_options(self, board: SimulatedBoard) -> list[str]:
        """Return the options of `flash` for this board."""
        options = ["--board", self.key, "--port", board.port, "--firmware", str(self.firmware_path)]
        return options + (["--drive", str(self.drive)] if self.drive else [])

    @property
    def config_options(self) -> list[str]:
        """Options that write a config for the broker of the test."""
        fields = {
            "device": "dut",
            "prefix": "test",
            "wifi.ssid": "home",
            "wifi.password": SECRET,
            "broker.host": self.broker.host,
            "broker.port": self.broker.port,
        }
        return [word for key, value in fields.items() for word in ("--set", f"{key}={value}")]
