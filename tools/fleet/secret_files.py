"""Folders and files for secrets: readable only by their owner, ignored by git, written atomically."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

from tools.errors import UserError


def make_folder(path: Path, may_be_link: bool = False) -> Path:
    """Create a folder for secrets: mode 0700, with a `.gitignore` that ignores its content.

    The mode of an existing folder is not changed, because it may be one of the user. `may_be_link` allows a
    symbolic link to a folder, which only the user can have made. Returns `path`. Raises UserError if
    something else has this name.
    """
    if path.is_symlink() and not may_be_link:
        raise UserError(
            f"{path} is a symbolic link to {os.readlink(path)}. Nothing was changed. Remove the link"
        )
    try:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise UserError(f"{path}: cannot make the folder: {error.strerror}") from error
    with contextlib.suppress(FileExistsError):
        with open(path / ".gitignore", "x", encoding="utf-8") as file:  # follows no symbolic link
            file.write("*\n")
    return path


def hide_from_git(path: Path) -> str:
    """Let git ignore a file with secrets, if it is in a work tree and git does not ignore it yet.

    Writes a new `.gitignore` beside it. A `.gitignore` of the user is never changed: returns what to add
    to it, otherwise "".
    """
    folder = path.resolve().parent
    if not any((one / ".git").exists() for one in (folder, *folder.parents)) or _is_ignored(path):
        return ""
    line = "/" + re.sub(r"([\\*?\[ ])", r"\\\1", path.name)
    ignore = folder / ".gitignore"
    try:
        with open(ignore, "x", encoding="utf-8") as file:
            file.write(line + "\n")
    except FileExistsError:
        return f"{path} is not ignored by git. Add this line to {ignore}: {line}"
    return ""


def _is_ignored(path: Path) -> bool:
    try:
        command = ["git", "check-ignore", "-q", "--", path.name]
        done = subprocess.run(command, cwd=path.resolve().parent, stderr=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def write_file(path: Path, data: bytes | str, durable: bool = False) -> bool:
    """Write a file of mode 0600 atomically: completely or not at all. With `durable` also if power fails.

    Returns True if the file is new or its content has changed, False if it had this content already.
    """
    new = data.encode() if isinstance(data, str) else data
    # a symbolic link is replaced: what it leads to is not ours
    is_ours = path.is_file() and not path.is_symlink()
    if is_ours and path.stat().st_size == len(new) and path.read_bytes() == new:
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
