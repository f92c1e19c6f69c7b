"""Folders and files for secrets: readable only by their owner, ignored by git, written atomically."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tools.errors import UserError


def make_folder(path: Path, may_be_link: bool = False) -> Path:
    """Create a folder for secrets: mode 0700, with a `.gitignore` that ignores its content.

    An existing folder gets both, too. `may_be_link` allows a symbolic link to a folder, which only the user
    can have made. Returns `path`. Raises UserError if something else has this name.
    """
    if path.is_symlink() and not may_be_link:
        raise UserError(
            f"{path} is a symbolic link to {os.readlink(path)}. Nothing was changed. Remove the link"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        os.chmod(path, 0o700)
    except OSError as error:
        raise UserError(f"{path}: cannot make the folder: {error.strerror}") from error
    with contextlib.suppress(FileExistsError):
        with open(path / ".gitignore", "x", encoding="utf-8") as file:  # follows no symbolic link
            file.write("*\n")
    return path


def write_file(path: Path, data: bytes | str) -> bool:
    """Write a file of mode 0600 atomically: completely or not at all.

    Returns True if the file is new or its content has changed, False if it had this content already.
    """
    new = data.encode() if isinstance(data, str) else data
    # a symbolic link is replaced: what it leads to is not ours
    if path.is_file() and not path.is_symlink() and path.read_bytes() == new:
        os.chmod(path, 0o600)
        return False
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:
        file.write(new)
    os.replace(temporary, path)
    return True
