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
        ignore.write_text("*\n", encoding="utf-8")
    return path


def write_file(path: Path, data: bytes | str) -> bool:
    """Write a file of mode 0600 atomically: completely or not at all.

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
    os.replace(temporary, path)
    return True
