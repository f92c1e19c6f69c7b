"""Files with secrets: their mode, what git ignores, and the examples of the documentation."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from host_tests.command_lines import run_and_watch
from host_tests.tools.test_passwords import TOOLS
from tools.fleet import secret_files
from tools.paths import ROOT


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_ignored(path: Path) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", path.name], cwd=path.parent).returncode == 0


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def new_key(path: Path, code: int = 0) -> str:
    output, _ = run_and_watch([*TOOLS, "update", "--new-key", "--key", path], code)
    if not code:
        assert path.read_text().strip() not in output
    return output


def test_a_new_key_is_readable_by_its_owner_only_and_ignored_by_git(work_tree: Path) -> None:
    path = work_tree / "keys" / "device [1].key"
    path.parent.mkdir(0o755)
    output = new_key(path)
    assert mode(path) == 0o600 and is_ignored(path) and "warning" not in output
    assert f"--set-file update.key={path}" in output
    assert mode(path.parent) == 0o755  # a folder of the user
    other = path.with_name("device1.key")  # the name is not a pattern
    other.touch()
    assert not is_ignored(other)
    assert "the file exists" in new_key(path, 1)


def test_a_gitignore_of_the_user_is_not_changed(work_tree: Path) -> None:
    ignore = work_tree / ".gitignore"
    ignore.write_text("*.pyc\n")
    output = new_key(work_tree / "update.key")
    assert f"Add this line to {ignore}: /update.key" in output and ignore.read_text() == "*.pyc\n"
    ignore.write_text("*.pyc\n/other.key\n")
    assert "warning" not in new_key(work_tree / "other.key")


def test_outside_of_a_work_tree_no_gitignore_is_written(tmp_path: Path) -> None:
    new_key(tmp_path / "update.key")
    assert [path.name for path in tmp_path.iterdir()] == ["update.key"]


def test_a_fleet_file_and_its_secrets_are_ignored(work_tree: Path) -> None:
    work_tree.chmod(0o755)
    file = work_tree / "fleet.toml"
    run_and_watch([*TOOLS, "fleet", "init", "--board", "host", "--count", 1, "--file", file])
    out = work_tree / "out"
    out.mkdir(0o755)
    run_and_watch([*TOOLS, "fleet", "generate", "--file", file, "--out", out])
    assert mode(file) == 0o600 and mode(work_tree) == 0o755 and mode(out) == 0o755
    untracked = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=work_tree,
        capture_output=True,
        check=True,
    )
    assert untracked.stdout.decode().split() == ["??", ".gitignore"]
    for path in [*out.rglob("*"), *(work_tree / "fleet.private").rglob("*")]:
        if path.name != ".gitignore":
            assert mode(path) == (0o700 if path.is_dir() else 0o600), path
    password = (out / "dashboard" / "password").read_text()
    assert password.strip() in (out / "dashboard" / "dashboard.json").read_text()


def test_git_ignores_key_files_of_this_project() -> None:
    for name in ("update.key", "kitchen.key", "mqtt.password", "fleet.toml", "config.json"):
        assert is_ignored(ROOT / name), name


def test_a_file_is_never_readable_by_others_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    secret_files.write_file(path, "new")
    assert mode(path) == 0o600


# ---- the examples

_DOCUMENTS = [
    ROOT / "Makefile",
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("**/*.md"),
    *(ROOT / "tools").rglob("*.py"),
]
_URL = re.compile(r"(mqtts?|wss?)://[^\s/@\"'`]*:[^\s/@\"'`]*@")
_OPTION = re.compile(r"--set[ =]'?\S*(password|secret|token|update\.key)=(?!\.\.\.)")
_VARIABLE = re.compile(r"(?i)(^|[\s\"'`;])\w*(password|update_key)=[^\s\"'`]")


def test_no_example_has_a_password_on_a_command_line() -> None:
    for pattern, text in (
        (_URL, "make monitor BROKER=mqtts://user:password@host"),
        (_URL, "mqtt://[user:password@]host"),
        (_OPTION, 'ARGS="--set wifi.password=hunter22"'),
        (_VARIABLE, "make update PASSWORD=hunter2"),
        (_VARIABLE, "MQTT_PASSWORD=hunter2 make monitor"),
    ):
        assert pattern.search(text), text
    for path in _DOCUMENTS:
        if path.name == "CHANGELOG.md":  # it describes earlier versions
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            place = f"{path.relative_to(ROOT)}:{number}: {line}"
            assert not _URL.search(line) and not _OPTION.search(line), place
            if path.suffix != ".py" and "Client(" not in line and "client_id" not in line:
                assert not _VARIABLE.search(line), place
