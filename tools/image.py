"""What a device holds, as files: the library in one bundle, the application, the board's own modules.

Compiled, as on every board: to compile on the device takes a heap that few have. `boot.py`
and `main.py` stay source, for the interpreter runs them by these names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools import board as boards
from tools.bundle import bundle, compile_package, cross_compile
from tools.paths import BUILD, FIRMWARE, LIB

_STARTED_BY_NAME = {"boot.py", "main.py"}


def sources(board: str) -> dict[str, str]:
    """Source by path on the device."""
    files = {f"umqtt5/{name}.py": source for name, source in bundle().items()}
    for path in sorted(set(FIRMWARE.rglob("*.py")) - {FIRMWARE / "manifest.py"}):
        files[path.relative_to(FIRMWARE).as_posix()] = path.read_text()
    for path in boards.modules(board):
        files[path.name] = path.read_text()
    return files


def write(board: str, folder: Path, level: int = 2) -> None:
    """Compile all of it into `folder`."""

    def put(name: str, source: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in _STARTED_BY_NAME:
            path.write_text(source)
        else:
            path.with_suffix(".mpy").write_bytes(cross_compile(path.stem, source, level))

    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda item: put(*item), sources(board).items()))


def cached(board: str) -> Path:
    """The folder of a board's image as the sources are now, compiled where it is not there yet."""
    inputs = [*LIB.rglob("*.py"), *FIRMWARE.rglob("*.py"), *boards.modules(board)]
    return _cached(board, inputs, lambda folder: write(board, folder))


def cached_library() -> Path:
    """The folder of the library alone, compiled."""
    return _cached("library", [*LIB.rglob("*.py")], compile_package)


def cached_program(path: Path) -> Path:
    """The folder of the library and of a program, compiled."""

    def fill(folder: Path) -> None:
        compile_package(folder)
        (folder / f"{path.stem}.mpy").write_bytes(cross_compile(path.stem, path.read_text()))

    return _cached(path.stem, [*LIB.rglob("*.py"), path], fill)


def _cached(name: str, inputs: list[Path], fill: Callable[[Path], object]) -> Path:
    digest = hashlib.sha256()
    for path in sorted([*inputs, *_TOOLS]):
        digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    folder = BUILD / "image" / f"{name}-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent, prefix="new-"))
        fill(new)
        try:
            os.rename(new, folder)
        except OSError:  # somebody else was faster
            shutil.rmtree(new)
    return folder


_TOOLS = (Path(__file__), Path(__file__).with_name("bundle.py"))
