"""Runs on the board: the version of `.mpy` that it loads, and its files with their hashes.

`ROOTS` (names of folders and files) is set before. Allocates little: a file is read in pieces.
"""

import json
import os
import sys
from binascii import hexlify
from hashlib import sha256

_FOLDER = 0x4000


def digest(path, piece):
    """The SHA-256 of a file as hex."""
    found = sha256()
    with open(path, "rb") as file:
        while True:
            n = file.readinto(piece)
            if not n:
                break
            found.update(memoryview(piece)[:n])
    return hexlify(found.digest()).decode()


def walk(path, piece):
    """Print each file from here down."""
    try:
        kind = os.stat(path)[0]
    except OSError:
        return
    if kind & _FOLDER:
        for entry in sorted(os.listdir(path)):
            walk(path + "/" + entry, piece)
    else:
        print("file", json.dumps([path, digest(path, piece)]))


print("mpy", sys.implementation._mpy & 0xFF)
for root in ROOTS:  # noqa: F821
    walk(root, bytearray(512))
