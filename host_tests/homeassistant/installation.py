"""Install Home Assistant in a virtual environment of its own, because it needs other package versions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.paths import BUILD

HERE = Path(__file__).parent
# Python versions, newest first; a requirements file pins the newest Home Assistant for each
VERSIONS = ("3.13", "3.12")
_PYTHONS = Path.home() / ".pyenv" / "versions"


def _candidates(version: str) -> Iterator[str]:
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield sys.executable
    found = shutil.which(f"python{version}")
    if found:
        yield found
    yield from map(str, sorted(_PYTHONS.glob(f"{version}.*/bin/python{version}")))


def _python(version: str) -> str | None:
    """Return a Python of this version that can create a virtual environment, or None.

    A command on the PATH may be only a pyenv shim without a Python behind it.
    """
    for candidate in _candidates(version):
        check = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", check], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None


def _folder(version: str) -> Path:
    return BUILD / f"homeassistant-{version}"


def _stamp(version: str) -> tuple[Path, str]:
    """Return the path of the file that marks a complete installation, and the content it must have."""
    return _folder(version) / "installed", (HERE / f"requirements-{version}.txt").read_text()


def installed() -> Path | None:
    """Return the path of the program `hass`, or None if it is not installed."""
    for version in VERSIONS:
        stamp, content = _stamp(version)
        if stamp.exists() and stamp.read_text() == content:
            return _folder(version) / "bin" / "hass"
    return None


def install() -> str | None:
    """Install Home Assistant if necessary. Return None, or the reason why it cannot be installed."""
    if installed():
        return None
    why = "neither Python 3.13 nor 3.12 with venv is on the PATH or in ~/.pyenv/versions"
    for version in VERSIONS:
        python = _python(version)
        if python:
            print(
                f"installing Home Assistant for Python {version} (only once; this takes some minutes)",
                flush=True,
            )
            why = _install(python, version)
            if not why:
                return None
    return why


def _install(python: str, version: str) -> str:
    """Create the environment; return an error message, or an empty string."""
    folder = _folder(version)
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [python, "-m", "venv", str(folder)],
        [
            *(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"),
            *("--requirement", str(HERE / f"requirements-{version}.txt")),
        ],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            return f"installation failed: {' '.join(done.stdout.split())[-300:]}"
    stamp, content = _stamp(version)
    stamp.write_text(content)
    return ""
