"""Files from outside: a pipe, a device, a link or a gigantic file hangs no command, harms no other file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.errors import UserError
from tools.fleet import secret_files
from tools.fleet.certificate_records import exclusive
from tools.paths import ROOT
from tools.text_files import MAX_SIZE, read_bytes, write_text


def test_only_a_regular_file_of_a_limited_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(path)
    assert read_bytes(path) == read_bytes(tmp_path / "link") == b"abc"
    assert read_bytes(path, limit=3) == b"abc"
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "gigantic").open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    for name, reason in (("pipe", "not a regular file"), ("gigantic", "larger than"), (".", "directory")):
        with pytest.raises(UserError, match=reason):
            read_bytes(tmp_path / name)
    with pytest.raises(UserError, match="not a regular file"):
        read_bytes(Path("/dev/zero"))
    with pytest.raises(UserError, match="larger than 2 bytes"):
        read_bytes(path, limit=2)


def test_a_file_that_is_written_replaces_a_link(tmp_path: Path) -> None:
    mine, link = tmp_path / "mine", tmp_path / "link"
    mine.write_text("mine")
    for write in (write_text, secret_files.write_file):
        link.unlink(missing_ok=True)
        link.symlink_to(mine)
        write(link, "new")
        assert mine.read_text() == "mine" and link.read_text() == "new" and not link.is_symlink()
        assert {path.name for path in tmp_path.iterdir()} == {"mine", "link"}
    mode = mine.stat().st_mode
    link.unlink()
    link.symlink_to(mine)
    secret_files.write_file(link, "mine")  # the same content: the mode of the other file stays
    assert mine.stat().st_mode == mode
    with pytest.raises(UserError, match="cannot write"):
        write_text(mine / "below a file", "x")


def test_a_folder_for_secrets_is_not_made_through_a_link(tmp_path: Path) -> None:
    mine, link = tmp_path / "mine", tmp_path / "link"
    mine.mkdir(mode=0o755)
    link.symlink_to(mine)
    with pytest.raises(UserError, match="symbolic link"):
        secret_files.make_folder(link)
    assert list(mine.iterdir()) == []
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / ".gitignore").symlink_to(tmp_path / "absent")
    secret_files.make_folder(tmp_path / "own")
    assert not (tmp_path / "absent").exists()


def test_a_lock_file_that_is_a_link_or_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder"):
        with pytest.raises(UserError, match="lock file"), exclusive(tmp_path / name):
            pass
    assert not (tmp_path / "absent").exists()


def run_tools(*arguments: str | bytes) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_an_argument_that_is_not_utf8_is_an_error() -> None:
    done = run_tools("update", b"\xff")
    assert done.returncode == 1 and done.stderr.strip().startswith("an argument is not UTF-8")


def test_a_reader_that_ends_early_is_no_error_with_a_traceback() -> None:
    command = f"{sys.executable} -m tools fleet init --help | true"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
