"""Saves the config of a device on this computer while its flash is erased and written.

If `make flash` is interrupted, the next run restores the config from here. There is a folder per board, named
after the unique id of its chip, in the state folder of the user. The files contain passwords and keys, so
other users cannot read them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import platformdirs

from tools.device_config.config import CONFIG_FILE, format_config, parse_config
from tools.device_config.device import DeviceConfig
from tools.file_names import require_bare_name


def _folder(unique_id: str) -> Path:
    return platformdirs.user_state_path("umqtt5") / unique_id


def save_backup(unique_id: str, device: DeviceConfig) -> None:
    """Save the config of a board, and its certificates. An empty config means that the board has none."""
    folder = _folder(unique_id)
    new = folder.with_name(f"{unique_id}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    files = {CONFIG_FILE: format_config(device.config), **device.files}
    for name, data in files.items():
        path = new / require_bare_name(name, "config.json")
        with open(path, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(data)
    delete_backup(unique_id)
    new.rename(folder)


def load_backup(unique_id: str) -> DeviceConfig | None:
    """Return the config that an earlier run saved for a board, or None."""
    folder = _folder(unique_id)
    try:
        config = parse_config((folder / CONFIG_FILE).read_text(encoding="utf-8"), str(folder))
    except OSError:
        return None
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != CONFIG_FILE}
    return DeviceConfig(config, files)


def delete_backup(unique_id: str) -> None:
    """Delete the saved config of a board. Does nothing if there is none."""
    shutil.rmtree(_folder(unique_id), ignore_errors=True)
