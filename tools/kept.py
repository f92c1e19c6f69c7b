"""What a board had before its flash was erased, until it has it again: a run may be cut off.

In `build/kept/`, for nobody else to read, by the board's unique id.
"""

from __future__ import annotations

import json
import os
import shutil

from tools import settings
from tools.paths import BUILD
from tools.provision import Provision

_FOLDER = BUILD / "kept"


def keep(unique_id: str, provision: Provision) -> None:
    """Keep it."""
    folder = _FOLDER / unique_id
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    for name, data in {settings.CONFIG: json.dumps(provision.config).encode(), **provision.files}.items():
        (folder / name).write_bytes(data)


def kept(unique_id: str) -> Provision | None:
    """What an earlier run has kept of this board."""
    folder = _FOLDER / unique_id
    try:
        config = settings.parse((folder / settings.CONFIG).read_text(), str(folder))
    except OSError:
        return None
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != settings.CONFIG}
    return Provision(config, files)


def forget(unique_id: str) -> None:
    """The board has it: nothing is kept here."""
    shutil.rmtree(_FOLDER / unique_id, ignore_errors=True)
