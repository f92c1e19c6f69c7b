"""Simulated inputs and outputs: a folder of small files that a test reads and writes while the VM runs.

The environment variable `SIM_DIR` is the path of the folder; the default is `sim` in the working directory.
`__init__.py` in the parent folder lists the files.
"""

import json
import os

CHIP = os.getenv("SIM_CHIP") or "esp32"
RP2 = CHIP[:3] == "rp2"

_FOLDER = os.getenv("SIM_DIR")
if _FOLDER:
    # a filesystem that is not mounted, so that the program on the board does not see it
    import vfs

    _files = vfs.VfsPosix(_FOLDER)
    _open, _remove, _at = _files.open, _files.remove, "/"
else:
    _open, _remove, _at = open, os.remove, "sim/"


def read_text(name):
    """Return the content of a file, or None if it does not exist."""
    try:
        with _open(_at + name, "r") as file:
            return file.read()
    except OSError:
        return None


def write_text(name, content, mode="w"):
    if not _FOLDER:
        try:
            os.mkdir("sim")
        except OSError:
            pass
    with _open(_at + name, mode) as file:
        file.write(content)


def append_text(name, content):
    """Append to a file, which is created if it does not exist."""
    write_text(name, content, "a")


def remove(name):
    try:
        _remove(_at + name)
    except OSError:
        pass


def read_json(name):
    """Return the JSON value in a file, or None if it does not exist."""
    found = read_text(name)
    return None if found is None else json.loads(found)


def read_hex(name):
    """Return the bytes that a file has in hexadecimal, or None if it does not exist."""
    found = read_text(name)
    return None if found is None else bytes.fromhex(found.strip())
