"""What is outside of the chip: a folder of small files that a test reads and writes while the VM runs.

`STAND_IN` names the folder, else it is `stand_in` where the process runs. `__init__.py` beside
this folder says what the files are.
"""

import json
import os

CHIP = os.getenv("STAND_IN_CHIP") or "esp32"
RP2 = CHIP[:3] == "rp2"

_FOLDER = os.getenv("STAND_IN") or "stand_in"


def text(name):
    """The content of a file, None where there is none."""
    try:
        with open(_FOLDER + "/" + name) as file:
            return file.read()
    except OSError:
        return None


def put(name, content):
    """Write a file; who reads it finds the old content or the new."""
    path = _FOLDER + "/" + name
    try:
        os.mkdir(_FOLDER)
    except OSError:
        pass
    with open(path + "-", "w") as file:
        file.write(content)
    os.rename(path + "-", path)


def remove(name):
    try:
        os.remove(_FOLDER + "/" + name)
    except OSError:
        pass


def data(name):
    """The JSON in a file, None where there is none."""
    found = text(name)
    return None if found is None else json.loads(found)


def octets(name):
    """The bytes that are written in a file as hexadecimal digits, None where there is none."""
    found = text(name)
    return None if found is None else bytes.fromhex(found.strip())
