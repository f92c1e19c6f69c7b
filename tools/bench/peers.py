"""Downloads other MQTT clients (peers) from PyPI with pip, pinned by version and hash.

pip rejects packages made for `upip`, because their archives have no setup.py. However, before that, pip
checks the hash and unpacks the archive. With `--no-clean` the unpacked files stay in the temporary folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tools.errors import UserError
from tools.paths import BUILD, ROOT
from tools.text_files import read_text

REQUIREMENTS = ROOT / "tools" / "requirements" / "peers"


class PeerUnavailable(RuntimeError):
    """A peer cannot be downloaded; the message gives the reason."""


def fetch(name: str) -> Path:
    """Return the folder with a peer's sources; downloads them once. Raises PeerUnavailable."""
    pinned = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    target = BUILD / "peers" / name
    stamp = target / "pinned.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == pinned:
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for line in pinned.splitlines():
        _download(line, target)
    stamp.write_text(pinned, encoding="utf-8")
    return target


def version(name: str) -> str:
    """Return the pinned version of a peer."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    for package, _, rest in (line.partition("==") for line in lines):
        if _letters(package).endswith(_letters(name)):
            return rest.split()[0]
    raise ValueError(f"{name}.txt has no line for {name}")


def version_in_source(path: Path) -> str:
    """Return the version in a line such as `VERSION = (0, 8, 3)`. Raises PeerUnavailable."""
    try:
        found = re.search(r"^VERSION = \(([\d, ]+)\)", read_text(path), re.MULTILINE)
    except UserError as error:
        raise PeerUnavailable(str(error)) from None
    if not found:
        raise PeerUnavailable(f"{path} has no line such as VERSION = (0, 8, 3)")
    return found[1].replace(", ", ".")


def _letters(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "-._"))


def _download(requirement: str, target: Path) -> None:
    """Download one pinned requirement and put its files into `target`."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        wheels, unpacked = Path(folder) / "wheels", Path(folder) / "unpacked"
        requirements.write_text(requirement + "\n", encoding="utf-8")
        unpacked.mkdir()
        options = ["--require-hashes", "--no-deps", "--no-build-isolation", "--no-clean", "--quiet"]
        options += ["--retries", "1"]
        command = [sys.executable, "-m", "pip", "download", *options, "-d", str(wheels)]
        command += ["-r", str(requirements)]
        temporary = {name: str(unpacked) for name in ("TMPDIR", "TEMP", "TMP")}
        try:
            done = subprocess.run(
                command, env=os.environ | temporary, capture_output=True, encoding="utf-8", timeout=300
            )
        except subprocess.TimeoutExpired:
            raise PeerUnavailable(f"pip did not download {requirement.split()[0]} within 300 s") from None
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(target)
            return
        for path in unpacked.glob("pip-download-*/*"):
            if any(path.rglob("*.py")):
                shutil.copytree(path, target, dirs_exist_ok=True, ignore_dangling_symlinks=True)
                return
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise PeerUnavailable((errors or ["pip downloaded no files"])[-1].removeprefix("ERROR: ")[:200])
