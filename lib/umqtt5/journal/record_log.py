"""Record log: an append-only log of records in two files, which survives power failures.

    log = RecordLog("/counts", 4096, b"counts 1", dump)
    for kind, number, at, size in log.records():
        log.read(at, buf, size)
    log.open_for_append()
    log.begin_record(1, 7, len(data))
    log.write(data, 0, len(data))
    log.end_record()
    log.sync()

Records are appended to one file. When the file is full, `dump()` writes the records that are still needed to
the other file. The other file is synced before the first is removed, so one of them is always complete. A
record has these fields (sizes in bytes, numbers big-endian):

    kind 1, number 2, size of the body 3, body, Adler-32 (RFC 1950) 4

The checksum starts with the generation of the file and the offset of the record instead of 1 and 0, so stale
data of an older file is not a valid record. A power failure can leave an incomplete record at the end, which
is dropped. Bodies are written in pieces and not copied, so a record of any size below 16 MiB needs no heap,
except what the file system may allocate.
"""

import sys
from os import remove

from micropython import const

from ..core.wire import put_u16

if sys.implementation.name == "cpython":
    from ..cpython.compat import open_file as open

_MASK = const(0x3FFFFFFF)
_PRIME = const(65521)
_HEAD = const(6)  # bytes of a record in front of its body
RECORD_OVERHEAD = const(10)  # bytes of a record in addition to its body
_HEADER = const(0)  # kind of the first record; its number is the generation, its body is `magic`
_COMPLETE = const(255)  # kind of the record that follows the records of `dump`


class RecordLog:
    """A log of at most `size` bytes in each of the files `path`.0 and `path`.1.

    `magic` (bytes) distinguishes this type of log from others. `dump()` writes all records that are still
    needed; they must fit in `size`. Kinds are 1 to 254, numbers have 16 bits. If the flash fails, methods
    raise OSError, and the next record begins a new file with `dump()`.

    `torn_bytes` is the number of bytes at the end of the log that are not a complete record. `damaged_bytes`
    is the number of such bytes elsewhere in the files, which a power failure does not cause. Counters since
    the start of the program, modulo 2**30: `bytes_written`, `syncs` and `rotations`.
    """

    def __init__(self, path, size, magic, dump):
        self.size = size
        self.torn_bytes = self.damaged_bytes = 0
        self.bytes_written = self.syncs = self.rotations = 0
        self.end = 0  # offset of the next record
        self._paths = (path + ".0", path + ".1")
        self._magic = magic
        self._dump = dump
        self._at = 0  # index of the file in use
        self._generation = 0  # generation of the file in use: number of rotations, modulo 2**16
        self._complete_generation = 0  # generation of the last complete file
        self._file = None
        self._is_complete = False  # the file is open for appending and ends with a complete record
        self._is_rotating = False
        self._sum_a = self._sum_b = 0  # the two parts of the checksum
        self._head = bytearray(_HEAD)

    # ---- appending

    def begin_record(self, kind, number, size):
        """Begin a record; `write` its body of `size` bytes, then call `end_record`. Raises OSError."""
        if not self._is_rotating and (not self._is_complete or self.end + size + RECORD_OVERHEAD > self.size):
            self.rotate()
        self._is_complete = False
        head = self._head
        head[0] = kind
        put_u16(head, 1, number)
        head[3] = size >> 16
        put_u16(head, 4, size & 0xFFFF)
        self._begin_checksum(self.end)
        self.write(head, 0, _HEAD)

    def write(self, buf, at, n):
        """Write the next `n` bytes of the body, from `buf[at]`. Raises OSError."""
        self._add_to_checksum(buf, at, at + n)
        self._write(buf, at, n)

    def end_record(self):
        """End a record: write its checksum. Raises OSError."""
        head = self._head
        put_u16(head, 0, self._sum_a)
        put_u16(head, 2, self._sum_b)
        self._write(head, 0, 4)
        self._is_complete = True

    def sync(self):
        """Write all records to flash. This is slow and wears the flash. Raises OSError."""
        if not self._is_complete:
            self.rotate()
            return
        self._is_complete = False
        self._file.flush()
        self._is_complete = True
        self.syncs = (self.syncs + 1) & _MASK

    def rotate(self):
        """Continue in the other file, which begins with the records of `dump()`. Raises OSError."""
        self._close_file()
        self._generation = (self._generation + 1) & 0xFFFF
        if (self._generation - self._complete_generation) & 0xFFFF > 0x7FFF:
            # the flash has failed so often that the new file would seem to be older than the complete one
            self._generation = (self._complete_generation + 1) & 0xFFFF
        self._is_rotating = True
        done = False
        try:
            self.end = 0
            self._open_to_write(1 - self._at, "wb")
            self.begin_record(_HEADER, self._generation, len(self._magic))
            self.write(self._magic, 0, len(self._magic))
            self.end_record()
            self._dump()
            self.begin_record(_COMPLETE, 0, 0)
            self.end_record()
            self.sync()
            done = True
        finally:
            self._is_rotating = False
            self._is_complete = done
        self._at = 1 - self._at
        self._complete_generation = self._generation
        self._remove_file(1 - self._at)
        self.rotations = (self.rotations + 1) & _MASK

    def close(self):
        """Sync and close the file. Raises OSError."""
        self.sync()
        self._close_file()

    def _write(self, buf, at, n):
        if n:
            self._file.write(buf, at, n)
            self.end += n
            self.bytes_written = (self.bytes_written + n) & _MASK

    def _close_file(self):
        self._is_complete = False
        try:
            if self._file:
                self._file.close()
        except OSError:
            pass  # no record is lost: `dump` writes them to the next file
        self._file = None

    def _remove_file(self, which):
        try:
            remove(self._paths[which])
        except OSError:
            pass  # a file that is not removed is harmless: its generation is older

    def _begin_checksum(self, offset):
        self._sum_a = self._generation % _PRIME
        self._sum_b = offset % _PRIME

    def _add_to_checksum(self, buf, at, end):
        a = self._sum_a
        b = self._sum_b
        while at < end:
            a = (a + buf[at]) % _PRIME
            b = (b + a) % _PRIME
            at += 1
        self._sum_a = a
        self._sum_b = b

    # ---- reading

    def records(self):
        """Iterate over the complete records: (kind, number, offset of the body, size of the body).

        Call this method first, and exhaust the iterator before you call `open_for_append`. Read bodies with
        `read`. The code is in `optional.record_reader`, which may be unloaded afterwards.
        """
        from ..optional.record_reader import read_records

        return read_records(self)

    def read(self, at, buf, n):
        """Read `n` bytes at this offset into `buf`; returns the number of bytes read. Raises OSError."""
        self._file.seek(at)
        return self._file.readinto(buf, n)

    def open_for_append(self):
        """Prepare for appending.

        From now on `dump()` must be able to write the records that `records` returned. Raises OSError.
        """
        is_complete = self._is_complete
        self._close_file()
        if not is_complete:
            self.rotate()
            return
        self._open_to_write(self._at, "ab")
        self._is_complete = True

    def _open_to_write(self, which, mode):
        path = self._paths[which]
        try:
            self._file = open(path, mode)
        except OSError as error:  # MicroPython does not name the file
            raise OSError(error.errno, "cannot write " + path)

    def rewrite(self):
        """Let `open_for_append` begin a new file, because the owner does not keep all records."""
        self._is_complete = False

    def _open(self, which):
        """Open one of the files for reading; return its size, 0 if it does not exist."""
        self._close_file()
        try:
            self._file = open(self._paths[which], "rb")
            size = self._file.seek(0, 2)
            return size if size <= _MASK else 0  # the unix port opens folders, which have a huge size
        except OSError:
            return 0
