"""What a board had before its flash was erased, until it has it again: a run may be cut off.

By the board's unique id, where this user's state is kept, for nobody else to read.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import platformdirs

from tools.device_config.config import CONFIG_FILE, parse_config
from tools.provision import DeviceConfig


def _folder(unique_id: str) -> Path:
    return platformdirs.user_state_path("umqtt5") / unique_id


def save_backup(unique_id: str, provision: DeviceConfig) -> None:
    """Keep it."""
    delete_backup(unique_id)
    folder = _folder(unique_id)
    folder.mkdir(parents=True)
    os.chmod(folder, 0o700)
    for name, data in {
        CONFIG_FILE: json.dumps(provision.config).encode(),
        **provision.files,
    }.items():
        (folder / name).write_bytes(data)


def load_backup(unique_id: str) -> DeviceConfig | None:
    """What an earlier run has kept of this board."""
    folder = _folder(unique_id)
    try:
        config = parse_config((folder / CONFIG_FILE).read_text(), str(folder))
    except OSError:
        return None
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != CONFIG_FILE}
    return DeviceConfig(config, files)


def delete_backup(unique_id: str) -> None:
    """The board has it: nothing is kept here."""
    shutil.rmtree(_folder(unique_id), ignore_errors=True)
