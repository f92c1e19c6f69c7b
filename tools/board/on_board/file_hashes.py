"""Script that runs on a board: prints the .mpy version that it loads, and the SHA-256 of its files.

The caller must first define `ROOTS`, a list of folder and file names, and `feed_watchdog`. Files are read in
chunks to save heap.
"""

import json
import os
import sys
from binascii import hexlify
from hashlib import sha256

_FOLDER = 0x4000


def digest(path, buf):
    """Return the SHA-256 of a file as hex digits."""
    found = sha256()
    with open(path, "rb") as file:
        while True:
            n = file.readinto(buf)
            if not n:
                break
            found.update(memoryview(buf)[:n])
            feed_watchdog()  # noqa: F821
    return hexlify(found.digest()).decode()


def walk(path, buf):
    """Print the path and hash of a file, or of all files in a folder."""
    try:
        kind = os.stat(path)[0]
    except OSError:
        return
    if kind & _FOLDER:
        for entry in sorted(os.listdir(path)):
            walk(path + "/" + entry, buf)
    else:
        print("file", json.dumps([path, digest(path, buf)]))


print("mpy", sys.implementation._mpy & 0xFF)
for root in ROOTS:  # noqa: F821
    walk(root, bytearray(512))
