"""A clone of the project in a folder of its own, in which tests release a version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from host_tests.board.rig import run_command
from tools.paths import ROOT

VERSION = "0.2.0"
ENTRY = "- The lamp blinks."
_SKIPPED = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "node_modules", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)


class Clone:
    """A clone with one commit: the files of this checkout, with one unreleased entry in the changelog."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=_SKIPPED, symlinks=True)
        changes = folder / "CHANGELOG.md"
        changes.write_text(
            re.sub(
                r"^## Unreleased\n.*?(?=^## )",
                f"## Unreleased\n\n{ENTRY}\n\n",
                changes.read_text(),
                flags=re.MULTILINE | re.DOTALL,
            )
        )
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def git(self, *arguments: str) -> str:
        """Run git in the clone, and return its output."""
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        """Commit all files."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=Files")

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run a command of the tools in the clone, check its exit code, and return its output."""
        environment = {"PYTHONPATH": str(self.folder), **environment}
        command = [sys.executable, "-m", "tools", *arguments]
        return run_command(command, code, cwd=self.folder, timeout=200, **environment)

    def status(self) -> list[str]:
        """Return the files that differ from the last commit."""
        return sorted(line[3:] for line in self.git("status", "--porcelain").splitlines())
