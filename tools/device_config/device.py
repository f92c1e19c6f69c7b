"""Reads the config of a device: config.json, and the files that it names.

There are three different answers: there is no config, it cannot be read, and the board does not answer. Only
the first one allows a command to make a new config.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from tools.board import mpremote
from tools.board.serial_console import SerialConsole
from tools.deadlines import FIRST_PROMPT, READ_CONFIG
from tools.device_config.config import CONFIG_FILE, certificate_fields, parse_config
from tools.errors import UserError
from tools.file_names import is_bare_name

_SCRIPT = Path(mpremote.__file__).parent / "on_board" / "read_config.py"


class BoardSilentError(UserError):
    """MicroPython does not answer: the board has none, or its program cannot be stopped."""


@dataclass
class DeviceConfig:
    """Config of a device and the files that it names."""

    config: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)


def read_config(port: str) -> DeviceConfig | None:
    """Return the config on the device, None if there is no config.json.

    Raises BoardSilentError if MicroPython does not answer, and UserError if the port cannot be used or the
    config cannot be read. The bytes of a config that cannot be read are saved on this computer first.
    """
    with SerialConsole(port) as console:
        if not console.wait_for_prompt(FIRST_PROMPT):
            raise BoardSilentError(
                f"{port}: MicroPython does not answer. Press the board's reset button, then try again. "
                "If it has no MicroPython, run make flash"
            )
    output = mpremote.run(
        port, "resume", "run", str(_SCRIPT), timeout=READ_CONFIG, doing="reading the config"
    )
    lines = [line.partition(" ") for line in output.splitlines()]
    if any(word == "absent" for word, _, _ in lines):
        return None
    for word, _, text in lines:
        if word == "error":
            raise UserError(f"{port}: {CONFIG_FILE} cannot be read: {text}. To see the files: make ls")
    try:
        raw, parsed = [
            b"".join(bytes.fromhex(text) for word, _, text in lines if word == kind)
            for kind in ("raw", "json")
        ]
    except ValueError as error:
        raise UserError(f"{port}: the board's answer was damaged on its way. Try again") from error
    device = DeviceConfig(_parse(raw, parsed, port))
    with tempfile.TemporaryDirectory() as folder:
        for name in certificate_fields(device.config).values():
            if not is_bare_name(name):  # it may name a file of this computer; `validate` reports it
                continue
            path = Path(folder) / "file"
            with contextlib.suppress(UserError):
                mpremote.run(port, "resume", "fs", "cp", f":{name}", str(path), timeout=READ_CONFIG)
                device.files[name] = path.read_bytes()
    return device


def _parse(raw: bytes, parsed: bytes, port: str) -> dict[str, Any]:
    """Parse a config as this computer does, or else as the board does, whose parser accepts more."""
    for data in (raw, parsed):
        with contextlib.suppress(UserError, ValueError):
            return parse_config(data.decode("utf-8-sig"), CONFIG_FILE)
    saved = _save_unreadable(raw)
    try:
        json.loads(raw)
        reason = "not an object"
    except ValueError as error:
        reason = str(error)
    raise UserError(
        f"{port}: {CONFIG_FILE} on the board cannot be read: {reason}. A copy is in {saved}: correct it, "
        f"and write it with --config {saved} --new-config. To begin with a new config: --new-config"
    )


def _save_unreadable(raw: bytes) -> Path:
    folder = platformdirs.user_state_path("umqtt5") / "unreadable"
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    path = folder / f"config-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.json"
    with open(path, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(raw)
    return path
