"""Checks this computer: Python version, installed packages, disk space, programs."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from tools import broker
from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Finding
from tools.paths import ROOT
from tools.vm import process

_MIN_PYTHON = (3, 10)
_WARN_BELOW, _FAIL_BELOW = 500, 50  # MB of free disk space
_SETS = ("demo", "keyring", "board", "monitor", "docs", "dev", "bench")  # files in tools/requirements/


def check_python(context: CheckContext) -> Iterator[Finding]:
    """Check the version of Python, and that it runs in the project's virtual environment."""
    is_own = Path(sys.prefix) == ROOT / ".venv"
    message = f"{sys.version.split()[0]} in {'.venv' if is_own else sys.prefix}"
    if sys.version_info < _MIN_PYTHON:
        yield Finding(ERROR, "Python", message, "rm -r .venv && make PYTHON=python3.12 setup")
    elif not is_own:
        yield Finding(WARNING, "Python", f"{message}, not in the project's .venv", "run `make doctor`")
    else:
        yield Finding(OK, "Python", message)


def check_packages(context: CheckContext) -> Iterator[Finding]:
    """Check that the installed packages have the pinned versions."""
    yield from compare_packages(ROOT / "tools" / "requirements", Path(sys.prefix))


def compare_packages(requirements: Path, environment: Path) -> Iterator[Finding]:
    """Compare each set of packages that `make` installed in `environment` with its file of pins.

    After an installation `make` creates an empty file in `environment` that is named after the set.
    """
    for name in _SETS:
        stamp, path = environment / name, requirements / f"{name}.txt"
        if not stamp.exists() or not path.exists():
            continue
        differences, total = [], 0
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                pinned = Requirement(line)
            except InvalidRequirement:
                continue
            if pinned.marker and not pinned.marker.evaluate():
                continue
            total += 1
            installed = _version(pinned.name)
            if installed is None or not pinned.specifier.contains(installed, prereleases=True):
                differences.append(f"{pinned.name} {installed or 'missing'} ({pinned.specifier} is pinned)")
        subject = f"packages of {name}"
        if differences:
            more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
            remedy = f"touch tools/requirements/{name}.txt && make setup"
            yield Finding(ERROR, subject, ", ".join(differences[:3]) + more, remedy)
        else:
            yield Finding(OK, subject, f"{total} packages have the pinned versions")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_disk(context: CheckContext) -> Iterator[Finding]:
    """Check the free disk space for packages, firmware and builds."""
    yield rate_disk_space(shutil.disk_usage(ROOT).free // 1_000_000)


def rate_disk_space(free: int) -> Finding:
    """Rate the free disk space, in MB."""
    level = ERROR if free < _FAIL_BELOW else WARNING if free < _WARN_BELOW else OK
    remedy = "" if level == OK else "run `make clean`, or delete other files"
    return Finding(level, "disk", f"{free:,} MB free", remedy)


def check_programs(context: CheckContext) -> Iterator[Finding]:
    """Look for make, the MicroPython VM and mosquitto. All are optional."""
    path = shutil.which("make")
    if path:
        yield Finding(OK, "make", path)
    else:
        remedy = f"sudo apt-get install make, or run {sys.executable} -m tools"
        yield Finding(WARNING, "make", "not on the PATH", remedy)
    try:
        yield Finding(OK, "MicroPython VM", process.find_executable())
    except process.VmNotFound as error:
        remedy = "run `make setup` (only `make demo`, `make fleet` and the tests need the VM)"
        yield Finding(WARNING, "MicroPython VM", str(error), remedy)
    path = broker.find_mosquitto()
    message = path or "not installed; `make demo` and `make fleet` use the built-in broker iotcore"
    yield Finding(OK, "mosquitto", message)
