"""Home Assistant in an environment of its own: it wants other versions of nearly everything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.paths import BUILD

HERE = Path(__file__).parent
# the newest that can be had for each, the newest first
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
    """A Python of this version that can make an environment; one on the PATH may be an empty shell."""
    for candidate in _candidates(version):
        check = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", check], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None


def _folder(version: str) -> Path:
    return BUILD / f"homeassistant-{version}"


def _stamp(version: str) -> tuple[Path, str]:
    """A file, and what it holds where everything is installed."""
    return _folder(version) / "installed", (HERE / f"requirements-{version}.txt").read_text()


def installed() -> Path | None:
    """The program `hass`, None where it is not installed."""
    for version in VERSIONS:
        stamp, content = _stamp(version)
        if stamp.exists() and stamp.read_text() == content:
            return _folder(version) / "bin" / "hass"
    return None


def install() -> str | None:
    """Install it where it is not; returns why it can't be."""
    if installed():
        return None
    why = "neither Python 3.13 nor 3.12 with venv is on the PATH or in ~/.pyenv/versions"
    for version in VERSIONS:
        python = _python(version)
        if python:
            print(f"installing Home Assistant for Python {version} (once, it takes a while)", flush=True)
            why = _install(python, version)
            if not why:
                return None
    return why


def _install(python: str, version: str) -> str:
    """Returns why it failed, or nothing."""
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
            return f"it could not be installed: {' '.join(done.stdout.split())[-300:]}"
    stamp, content = _stamp(version)
    stamp.write_text(content)
    return ""
