"""Files that nobody but their owner reads, in folders that git does not see."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(path: Path) -> Path:
    """Make a folder for secrets: mode 0700, and with a `.gitignore` of its own."""
    path.mkdir(parents=True, exist_ok=True)
    os.chmod(path, 0o700)
    ignore = path / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return path


def write_file(path: Path, data: bytes | str) -> bool:
    """Write a file of mode 0600, whole or not at all; True where it was not there as it is now."""
    new = data.encode() if isinstance(data, str) else data
    if path.is_file() and path.read_bytes() == new:
        os.chmod(path, 0o600)
        return False
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:
        file.write(new)
    os.replace(beside, path)
    return True
