"""What comes from npm: a folder with a package-lock.json gets its node_modules."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def is_installed(folder: Path) -> bool:
    """True where all that the folder's lock file asks for is there."""
    done = folder / "node_modules" / ".package-lock.json"
    return done.exists() and done.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime


def install(folder: Path) -> str | None:
    """Install it where it is not; returns why it can't be."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "node and npm are not on the PATH"
    if is_installed(folder):
        return None
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return f"npm could not install it: {done.stdout.strip()[-500:]}" if done.returncode else None
