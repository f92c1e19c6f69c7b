"""Writes a package index for mip: `mpremote mip install --index URL NAME` installs what the board can load.

mip asks an index for `package/FORMAT/NAME/VERSION.json`. FORMAT is the version of the `.mpy` files that the
board loads, or `py` for sources. The answer lists the files by hash, each of which is at `file/HH/HASH`. So
the files of all versions can be in one folder, which any web server can serve.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

_LATEST = "latest"  # the version that mip asks for if the user names none
_FORMAT = 1  # of the answers; mip of MicroPython has no other
_HASH_DIGITS = 8  # enough for mip, which compares as many digits as the list has


def write_index(
    target: Path, name: str, version: str, files: Mapping[str, Mapping[str, bytes]]
) -> list[Path]:
    """Write the files of a version into an index, and return them.

    `files` has the content by format and path. Raises ValueError if two files have the same hash.
    """
    written = set()
    for format_name, contents in files.items():
        hashes = []
        for path, data in sorted(contents.items()):
            digest = hashlib.sha256(data).hexdigest()[:_HASH_DIGITS]
            file = target / "file" / digest[:2] / digest
            if file.exists() and file.read_bytes() != data:
                raise ValueError(f"{path}: another file has the hash {digest}; use more digits")
            _write(file, data)
            written.add(file)
            hashes.append([path, digest])
        answer = {"v": _FORMAT, "hashes": hashes, "version": version}
        for asked in (version, _LATEST):
            path_of_answer = target / "package" / format_name / name / f"{asked}.json"
            _write(path_of_answer, (json.dumps(answer, separators=(",", ":")) + "\n").encode())
            written.add(path_of_answer)
    return sorted(written)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
