"""Other clients, as PyPI has them: downloaded by pip, pinned by their hashes.

Those made for `micropython -m upip` are archives without a setup.py, which pip takes for no
project. It has checked their hash and unpacked them by then, and leaves them where `--no-clean`
asks for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tools.paths import BUILD, ROOT

REQUIREMENTS = ROOT / "tools" / "requirements" / "peers"


class PeerUnavailable(RuntimeError):
    """A peer can't be had here, and why."""


def fetch(name: str) -> Path:
    """The folder with a peer's sources, downloaded once. Raises PeerMissing."""
    pinned = (REQUIREMENTS / f"{name}.txt").read_text()
    target = BUILD / "peers" / name
    stamp = target / "pinned.txt"
    if stamp.exists() and stamp.read_text() == pinned:
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for line in pinned.splitlines():
        _download(line, target)
    stamp.write_text(pinned)
    return target


def _download(requirement: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asked, wheels, unpacked = (Path(folder) / name for name in ("asked.txt", "wheels", "unpacked"))
        asked.write_text(requirement + "\n")
        unpacked.mkdir()
        options = ["--require-hashes", "--no-deps", "--no-build-isolation", "--no-clean", "--quiet"]
        options += ["--retries", "1"]
        command = [sys.executable, "-m", "pip", "download", *options, "-d", str(wheels), "-r", str(asked)]
        temporary = {name: str(unpacked) for name in ("TMPDIR", "TEMP", "TMP")}
        try:
            done = subprocess.run(
                command, env=os.environ | temporary, capture_output=True, text=True, timeout=300
            )
        except subprocess.TimeoutExpired:
            raise PeerUnavailable(f"pip was still loading {requirement.split()[0]} after 300 s") from None
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(target)
            return
        for path in unpacked.glob("pip-download-*/*"):
            if any(path.rglob("*.py")):
                shutil.copytree(path, target, dirs_exist_ok=True)
                return
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise PeerUnavailable((errors or ["pip gave nothing"])[-1].removeprefix("ERROR: ")[:200])
