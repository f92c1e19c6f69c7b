"""This computer: Python, packages, room, programs."""

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

_NEEDED = (3, 10)
_LITTLE, _TOO_LITTLE = 500, 50  # MB
_SETS = ("demo", "board", "monitor", "dev", "bench")


def check_python(case: CheckContext) -> Iterator[Finding]:
    """Its version, and whether it is the project's own."""
    own = Path(sys.prefix) == ROOT / ".venv"
    text = f"{sys.version.split()[0]} in {'.venv' if own else sys.prefix}"
    if sys.version_info < _NEEDED:
        yield Finding(ERROR, "Python", text, "rm -r .venv && make PYTHON=python3.12 setup")
    elif not own:
        yield Finding(WARNING, "Python", f"{text}, not the project's .venv", "run it as `make doctor`")
    else:
        yield Finding(OK, "Python", text)


def check_packages(case: CheckContext) -> Iterator[Finding]:
    """Those that were installed have the versions that are pinned."""
    yield from compare_packages(ROOT / "tools" / "requirements", Path(sys.prefix))


def compare_packages(requirements: Path, environment: Path) -> Iterator[Finding]:
    """Each set that `make` has installed into an environment, against its pins."""
    for name in _SETS:
        stamp, path = environment / name, requirements / f"{name}.txt"
        if not stamp.exists() or not path.exists():
            continue
        wrong, total = [], 0
        for line in path.read_text().splitlines():
            try:
                pinned = Requirement(line)
            except InvalidRequirement:
                continue
            if pinned.marker and not pinned.marker.evaluate():
                continue
            total += 1
            have = _version(pinned.name)
            if have is None or not pinned.specifier.contains(have, prereleases=True):
                wrong.append(f"{pinned.name} {have or 'missing'} ({pinned.specifier} is pinned)")
        what = f"packages of {name}"
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            remedy = f"touch tools/requirements/{name}.txt && make setup"
            yield Finding(ERROR, what, ", ".join(wrong[:3]) + more, remedy)
        else:
            yield Finding(OK, what, f"{total} as pinned")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_disk(case: CheckContext) -> Iterator[Finding]:
    """Room for packages, firmware and builds."""
    yield rate_disk_space(shutil.disk_usage(ROOT).free // 1_000_000)


def rate_disk_space(free: int) -> Finding:
    """What so many MB mean."""
    level = ERROR if free < _TOO_LITTLE else WARNING if free < _LITTLE else OK
    return Finding(level, "disk", f"{free:,} MB free", "" if level == OK else "make clean, or make room")


def check_programs(case: CheckContext) -> Iterator[Finding]:
    """make, the MicroPython VM, mosquitto."""
    path = shutil.which("make")
    if path:
        yield Finding(OK, "make", path)
    else:
        yield Finding(
            WARNING, "make", "not on the PATH", f"sudo apt-get install make, or {sys.executable} -m tools"
        )
    try:
        process.find_executable()
        yield Finding(OK, "MicroPython VM", "beside this Python")
    except process.VmNotFound as error:
        yield Finding(WARNING, "MicroPython VM", str(error), "make demo and make fleet need it: make setup")
    found = broker.find_mosquitto()
    if found:
        yield Finding(OK, "mosquitto", found)
    else:
        text = "not here; make demo and make fleet have another broker"
        yield Finding(OK, "mosquitto", text)
