"""Installs the npm packages of a folder with a package-lock.json."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def is_installed(folder: Path) -> bool:
    """Return whether `node_modules` of a folder is as new as its lock file."""
    done = folder / "node_modules" / ".package-lock.json"
    return done.exists() and done.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime


def install(folder: Path) -> str | None:
    """Install the packages of a folder if necessary. Return None, or the reason if this fails."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "node and npm are not on the PATH"
    if is_installed(folder):
        return None
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    return f"npm ci failed in {folder}: {done.stdout.strip()[-500:]}" if done.returncode else None
