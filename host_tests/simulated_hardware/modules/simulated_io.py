"""What is outside of the chip: a folder of small files that a test reads and writes while the VM runs.

`SIM_DIR` is the path of the folder, else it is `sim` where the process runs. `__init__.py`
beside this folder says what the files are.
"""

import json
import os

CHIP = os.getenv("SIM_CHIP") or "esp32"
RP2 = CHIP[:3] == "rp2"

_FOLDER = os.getenv("SIM_DIR")
if _FOLDER:
    # a file system of its own, mounted nowhere: the program on the board never sees it
    import vfs

    _files = vfs.VfsPosix(_FOLDER)
    _open, _remove, _at = _files.open, _files.remove, "/"
else:
    _open, _remove, _at = open, os.remove, "sim/"


def read_text(name):
    """The content of a file, None where there is none."""
    try:
        with _open(_at + name, "r") as file:
            return file.read()
    except OSError:
        return None


def write_text(name, content):
    if not _FOLDER:
        try:
            os.mkdir("sim")
        except OSError:
            pass
    with _open(_at + name, "w") as file:
        file.write(content)


def remove(name):
    try:
        _remove(_at + name)
    except OSError:
        pass


def read_json(name):
    """The JSON in a file, None where there is none."""
    found = read_text(name)
    return None if found is None else json.loads(found)


def read_hex(name):
    """The bytes that are written in a file as hexadecimal digits, None where there is none."""
    found = read_text(name)
    return None if found is None else bytes.fromhex(found.strip())
