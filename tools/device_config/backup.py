"""What a board had before its flash was erased, until it has it again: a run may be cut off.

By the board's unique id, where this user's state is kept, for nobody else to read.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import platformdirs

from tools.device_config import config as settings
from tools.provision import Provision


def _folder(unique_id: str) -> Path:
    return platformdirs.user_state_path("umqtt5") / unique_id


def keep(unique_id: str, provision: Provision) -> None:
    """Keep it."""
    forget(unique_id)
    folder = _folder(unique_id)
    folder.mkdir(parents=True)
    os.chmod(folder, 0o700)
    for name, data in {settings.CONFIG: json.dumps(provision.config).encode(), **provision.files}.items():
        (folder / name).write_bytes(data)


def kept(unique_id: str) -> Provision | None:
    """What an earlier run has kept of this board."""
    folder = _folder(unique_id)
    try:
        config = settings.parse((folder / settings.CONFIG).read_text(), str(folder))
    except OSError:
        return None
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != settings.CONFIG}
    return Provision(config, files)


def forget(unique_id: str) -> None:
    """The board has it: nothing is kept here."""
    shutil.rmtree(_folder(unique_id), ignore_errors=True)
