"""What a device holds, as files: the library in one bundle, the application and the board's pins.

Compiled, as on every board: to compile on the device takes a heap that few have. `boot.py`
and `main.py` stay source, for the interpreter runs them by these names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.bundle import bundle, cross_compile
from tools.paths import BOARDS, BUILD, FIRMWARE, LIB

_STARTED_BY_NAME = {"boot.py", "main.py"}


def sources(board: str) -> dict[str, str]:
    """Source by path on the device."""
    files = {f"umqtt5/{name}.py": source for name, source in bundle().items()}
    for path in sorted(FIRMWARE.rglob("*.py")):
        files[path.relative_to(FIRMWARE).as_posix()] = path.read_text()
    for path in sorted((BOARDS / board).glob("*.py")):
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
    """The folder of the image as the sources are now, compiled where it is not there yet."""
    inputs = [*LIB.rglob("*.py"), *FIRMWARE.rglob("*.py"), *(BOARDS / board).glob("*.py"), *_TOOLS]
    digest = hashlib.sha256()
    for path in sorted(inputs):
        digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    folder = BUILD / "image" / f"{board}-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent, prefix="new-"))
        write(board, new)
        try:
            os.rename(new, folder)
        except OSError:  # somebody else was faster
            shutil.rmtree(new)
    return folder


_TOOLS = (Path(__file__), Path(__file__).with_name("bundle.py"))
