"""The files of a release, in dist/: wheel, packages for mip, ROMFS image, and checksums.

The same sources give the same bytes: no file has a time or an order that depends on the computer.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tools.bundle import compiler
from tools.errors import UserError
from tools.package import render_package, source_files
from tools.paths import LIB, ROOT
from tools.release.mip_index import write_index

NAME = "umqtt5"
SUMS = "SHA256SUMS"
_MODE = 0o100644 << 16  # of a regular file in a zip archive
_FIRST_TIME = 315532800  # 1980-01-01: a zip archive has no earlier time


def source_date(date: datetime.date) -> int:
    """Return the time of all files in seconds: SOURCE_DATE_EPOCH, otherwise the date of the release."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given and not given.isdigit():
        raise UserError(f"SOURCE_DATE_EPOCH={given}: expected seconds since 1970")
    moment = datetime.datetime.combine(date, datetime.time(), datetime.timezone.utc)
    return max(int(given or moment.timestamp()), _FIRST_TIME)


def build_all(target: Path, version: str, epoch: int) -> list[Path]:
    """Build all files of a release in the folder `target`, and return them. Raises UserError."""
    compiled = target / "compiled"
    compiler.compile_package(compiled)
    mpy = {
        path.relative_to(compiled).as_posix(): path.read_bytes() for path in sorted(compiled.rglob("*.mpy"))
    }
    format_version = next(iter(mpy.values()))[1]
    stem = f"{NAME}-{version}-mpy{format_version}"
    written = [_build_wheel(target, epoch), _build_romfs(compiled, target / f"{stem}.romfs")]
    shutil.rmtree(compiled)
    files = {"package.json": render_package(mpy, version).encode(), **mpy}
    written.append(write_zip(target / f"{stem}.zip", files, epoch))
    sources = {name: (LIB / name).read_bytes() for name in source_files()}
    sums = write_sums(target, written)
    index = write_index(target / "mip", NAME, version, {"py": sources, str(format_version): mpy})
    return [*written, sums, *index]


def _build_wheel(target: Path, epoch: int) -> Path:
    command = [
        sys.executable,
        "-m",
        "uv",
        "build",
        "--quiet",
        "--wheel",
        "--offline",
        "--no-create-gitignore",
    ]
    _run([*command, "--out-dir", str(target), str(ROOT)], SOURCE_DATE_EPOCH=str(epoch))
    (wheel,) = target.glob("*.whl")
    return wheel


def _build_romfs(compiled: Path, target: Path) -> Path:
    """Build the image that MicroPython mounts at /rom, with the library in /rom/lib, which is in sys.path."""
    root = compiled.with_name("romfs")
    shutil.copytree(compiled, root / "lib")
    _run([sys.executable, "-m", "mpremote", "romfs", "--no-mpy", "--output", str(target), "build", str(root)])
    shutil.rmtree(root)
    return target


def _run(command: list[str], **environment: str) -> None:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=300,
    )
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines()
        raise UserError(
            f"{command[2]} failed: {lines[-1] if lines else 'it printed nothing'}. Run: make setup"
        )


def write_zip(path: Path, files: dict[str, bytes], epoch: int) -> Path:
    """Write a zip archive that has the same bytes on each computer. Returns its path."""
    moment = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    date = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = _MODE
            archive.writestr(entry, data)
    return path


def write_sums(target: Path, paths: Iterable[Path]) -> Path:
    """Write SHA256SUMS with a line for each file, as `sha256sum --check` reads them. Returns its path."""
    names = sorted(path.relative_to(target).as_posix() for path in paths)
    lines = [f"{hashlib.sha256((target / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (target / SUMS).write_text("".join(lines), encoding="utf-8")
    return target / SUMS
