"""Folders and files for secrets: readable only by their owner, ignored by git, written atomically."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path


def make_folder(path: Path) -> Path:
    """Create a folder for secrets: mode 0700, with a `.gitignore` that ignores its content.

    The mode of an existing folder is not changed, because it may be one of the user. Returns `path`.
    """
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        pass
    ignore = path / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    return path


def open_private(path: str, flags: int) -> int:
    """Open a file, as the `opener` of `open`. A new file gets mode 0600."""
    return os.open(path, flags, 0o600)


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
