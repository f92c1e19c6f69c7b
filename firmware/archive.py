"""The modules of an update over the air, which are stored in one file.

littlefs stores each small file in a block of 4096 bytes, so the modules of the application take less than
half the flash if they share a file. The folder of a slot contains:

    files   the modules, one after another
    index   7 bytes for each module and each folder: the CRC-32 of its path, its offset in `files` (3 bytes)

An update over the air does not replace this module, so newer applications must be able to use it.
"""

import sys
from binascii import crc32

from micropython import const

MOUNT_POINT = "/update"  # not the name of a file: relative paths would lead here
_RECORD = const(7)  # bytes
_FOLDER = const(0xFFFFFF)  # offset that marks a folder
_ENOENT = const(2)


def find(index, path):
    """Return the position of the record of a path in an index, -1 if there is none."""
    key = crc32(path.encode()).to_bytes(4, "big")
    at = index.find(key)
    while at % _RECORD and at >= 0:  # not the start of a record
        at = index.find(key, at + 1)
    return at


class Archive:
    """A read-only file system with the modules in the folder of a slot, from which MicroPython imports.

    Raises OSError if the folder has no complete archive.
    """

    def __init__(self, folder):
        self._path = folder + "/files"
        with open(folder + "/index", "rb") as file:
            self._index = file.read()
        if not self._index or len(self._index) % _RECORD:
            raise OSError(_ENOENT)

    def mount(self, *options):
        """Do nothing: `vfs` calls this, and `umount`."""

    umount = mount

    def _find(self, path):
        """Return the offset of a module, _FOLDER for a folder. Raises OSError if there is no such file."""
        at = find(self._index, path.lstrip("/"))
        if at < 0:
            raise OSError(_ENOENT)
        return int.from_bytes(self._index[at + 4 : at + _RECORD], "big")

    def stat(self, path):
        """Return the kind of a file, as `os.stat` does; the other values are 0."""
        return (0x4000 if self._find(path) == _FOLDER else 0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0)

    def open(self, path, mode):
        """Open a module for reading. The file does not end where the module ends."""
        file = open(self._path, "rb")
        file.seek(self._find(path))
        return file


def mount(folder):
    """Import modules from the archive in this folder first, from none if it is `.`. Raises OSError."""
    import vfs

    if MOUNT_POINT in sys.path:
        sys.path.remove(MOUNT_POINT)
        vfs.umount(MOUNT_POINT)
    if folder != ".":
        vfs.mount(Archive(folder), MOUNT_POINT)
        sys.path.insert(0, MOUNT_POINT)
