"""Versions of releases: syntax, order, and whether the clone is in a state to be released."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from packaging.version import Version

from tools.errors import UserError
from tools.release import changelog

# what PEP 440 and mip both accept
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((a|b|rc)(0|[1-9]\d*))?", re.ASCII)
_SHOWN_FILES = 5


def run_git(root: Path, *arguments: str) -> str:
    """Return the output of git in a clone. Raises UserError."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        raise UserError("git is not installed. Install it, then try again") from None
    if done.returncode:
        raise UserError(f"{root}: git {arguments[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def check_version(root: Path, version: str, current: str, changes: str) -> bool:
    """Check that a version can be released from this clone. Raises UserError with what to do.

    `current` is the version in pyproject.toml, `changes` the text of CHANGELOG.md. Returns whether the files
    must be changed: False if they already have this version, so that a release can be built again.
    """
    if not _VERSION.fullmatch(version):
        raise UserError(f"VERSION={version}: expected three numbers such as 1.2.3, or 1.2.3rc1")
    try:
        run_git(root, "rev-parse", "--git-dir")
    except UserError as error:
        if "not installed" in str(error):
            raise
        raise UserError(f"{root} is not a clone made by git. Release from a clone: it has the tags") from None
    tags = run_git(root, "tag", "--list").split()
    if f"v{version}" in tags:
        raise UserError(
            f"the tag v{version} exists, so this version is released. Choose a newer one, or build its files "
            f"again: git checkout v{version}, then make release VERSION={version} ARGS=--rebuild"
        )
    _check_clean(root)
    if version == current and changelog.find_date(changes, version):
        if changelog.unreleased_entries(changes):
            raise UserError(
                f"VERSION={version} is not newer than {current}, and CHANGELOG.md has unreleased entries. "
                "Choose a newer version"
            )
        return False
    released = [Version(tag[1:]) for tag in tags if tag[:1] == "v" and _VERSION.fullmatch(tag[1:])]
    newest = max([Version(current), *released])
    if Version(version) <= newest:
        raise UserError(f"VERSION={version} is not newer than {newest}. Choose a newer version")
    return True


def check_rebuild(root: Path, version: str, current: str) -> None:
    """Check that the files of a released version can be built again. Raises UserError."""
    if version != current:
        raise UserError(f"this clone has version {current}, not {version}. Run: git checkout v{version}")
    _check_clean(root)


def _check_clean(root: Path) -> None:
    """Raise UserError if files differ from the last commit."""
    lines = run_git(root, "status", "--porcelain").splitlines()
    if lines:
        names = ", ".join(line[3:] for line in lines[:_SHOWN_FILES])
        more = f" and {len(lines) - _SHOWN_FILES} more" if len(lines) > _SHOWN_FILES else ""
        raise UserError(f"files are not committed: {names}{more}. Run: git status, then commit or stash them")
