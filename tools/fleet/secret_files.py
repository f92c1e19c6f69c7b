"""Folders and files for secrets: readable only by their owner, ignored by git, written atomically."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(path: Path) -> Path:
    """Create a folder for secrets: mode 0700, with a `.gitignore` that ignores its content.

    An existing folder gets both, too. Returns `path`.
    """
    path.mkdir(parents=True, exist_ok=True)
    os.chmod(path, 0o700)
    ignore = path / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return path


def open_private(path: str, flags: int) -> int:
    """Open a file, as the `opener` of `open`. A new file gets mode 0600."""
    return os.open(path, flags, 0o600)


def write_file(path: Path, data: bytes | str, durable: bool = False) -> bool:
    """Write a file of mode 0600 atomically: completely or not at all. With `durable` also if power fails.

    Returns True if the file is new or its content has changed, False if it had this content already.
    """
    new = data.encode() if isinstance(data, str) else data
    if path.is_file() and path.read_bytes() == new:
        os.chmod(path, 0o600)
        return False
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:
        file.write(new)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)
    if durable:
        _sync_folder(path.parent)
    return True


def _sync_folder(folder: Path) -> None:
    """Write the names of the files in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
