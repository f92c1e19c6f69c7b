"""The modules of an update over the air, which are stored in one file.

littlefs stores each small file in a block of 4096 bytes, so the modules of the application take less than
half the flash if they share a file. The folder of a slot contains:

    files   the modules, one after another
    index   7 bytes for each module and each folder: the CRC-32 of its path, its offset in `files` (3 bytes)

An update over the air does not replace this module, so newer applications must be able to use it.
"""

import sys
from binascii import crc32

MOUNT_POINT = "/slot"
MAX_SIZE = 0xFFFFFE  # maximum size of `files` in bytes
_RECORD = 7  # bytes
_FOLDER = 0xFFFFFF  # offset that marks a folder
_ENOENT = 2


def build_record(path, offset):
    """Return the record of a module that begins at `offset`, or of a folder if that is None."""
    return _build_key(path) + (_FOLDER if offset is None else offset).to_bytes(3, "big")


def _build_key(path):
    return (crc32(path.encode()) & 0xFFFFFFFF).to_bytes(4, "big")


def find(index, path):
    """Return the position of the record of a path in an index, -1 if there is none."""
    key = _build_key(path)
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

    def mount(self, readonly, mkfs):
        """Do nothing: `vfs.mount` calls this."""

    def umount(self):
        """Do nothing: `vfs.umount` calls this."""

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

    def ilistdir(self, path):
        """Return an empty iterator: the index does not contain the names."""
        return iter(())


def mount(folder):
    """Import modules from the archive in this folder first, from none if it is `.`. Raises OSError."""
    import vfs

    if MOUNT_POINT in sys.path:
        sys.path.remove(MOUNT_POINT)
        vfs.umount(MOUNT_POINT)
    if folder != ".":
        vfs.mount(Archive(folder), MOUNT_POINT)
        sys.path.insert(0, MOUNT_POINT)
