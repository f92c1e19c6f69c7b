"""A small log on flash that outlives power cuts, in two files that take turns. `journal` loads it.

    log = Log("/counts", 4096, b"counts 1", dump)
    for kind, number, at, size in log.records():
        log.read(at, buf, size)
    log.start()
    log.begin(1, 7, len(data))
    log.put(data, 0, len(data))
    log.finish()
    log.sync()

Records are appended to one file. Where that is full, `dump()` appends what is to be kept to the
other, and that is synced before the first goes: at each instant one of them is whole. A record is

    kind 1, number 2, size of the body 3, the body, Adler-32 (RFC 1950) 4; big end first

and its sum begins with the file's generation and the record's offset, in place of 1 and 0: what
a file system hands out of an older file is no record. What stands at the end and is no whole
record was torn by a cut, and is dropped. A body is not copied, so it may be of any size, and a
record takes no heap where the file system takes none.
"""

import sys
from os import remove

from micropython import const

from ..core.wire import get_u16, put_u16

if sys.implementation.name == "cpython":
    from ..cpython.compat import open_file as open

_MASK = const(0x3FFFFFFF)
_PRIME = const(65521)
_HEAD = const(6)
OVERHEAD = const(10)  # bytes of a record beside its body
_HEADER = const(0)  # the first record: the number is the generation, the body the mark
_COMPLETE = const(255)  # what `dump` has kept is in front of it


class Log:
    """At most `size` bytes in each of `path`.0 and `path`.1, as long as `dump` keeps within it.

    `mark` is what tells this kind of log from others. Kinds are 1 to 254, numbers 16 bits.
    Where flash fails OSError is raised, and the next record begins a new file, with `dump`.

    Of what was there: `torn` bytes at its end were no whole record, and `damaged` ones elsewhere,
    which no cut does. Of this run, modulo 2**30: `bytes` that went to the files, how often they
    were synced (`syncs`) and took `turns`.
    """

    def __init__(self, path, size, mark, dump):
        self.size = size
        self.torn = self.damaged = 0
        self.bytes = self.syncs = self.turns = 0
        self.end = 0  # of the file, where the next record goes
        self._paths = (path + ".0", path + ".1")
        self._mark = mark
        self._dump = dump
        self._at = self._generation = 0  # the file in use
        self._file = None
        self._whole = False  # it is open, and ends with a whole record
        self._turning = False
        self._a = self._c = 0  # the sum
        self._head = bytearray(_HEAD)

    # ---- appending

    def begin(self, kind, number, size):
        """Begin a record whose body has `size` bytes: `put` them, then `finish`."""
        if not self._turning and (not self._whole or self.end + size + OVERHEAD > self.size):
            self.turn()
        self._whole = False
        head = self._head
        head[0] = kind
        put_u16(head, 1, number)
        head[3] = size >> 16
        put_u16(head, 4, size & 0xFFFF)
        self._seed(self.end)
        self.put(head, 0, _HEAD)

    def put(self, buf, at, n):
        """The next `n` bytes of the body are those of `buf` from `at` on."""
        self._sum(buf, at, at + n)
        self._write(buf, at, n)

    def finish(self):
        """The record is complete."""
        head = self._head
        put_u16(head, 0, self._a)
        put_u16(head, 2, self._c)
        self._write(head, 0, 4)
        self._whole = True

    def sync(self):
        """Have all records stay, whatever happens. That is slow on flash, and wears it."""
        if not self._whole:
            self.turn()
            return
        self._whole = False
        self._file.flush()
        self._whole = True
        self.syncs = (self.syncs + 1) & _MASK

    def turn(self):
        """Go over to the other file, with what `dump` keeps."""
        self._shut()
        self._generation = (self._generation + 1) & 0xFFFF
        self._turning = True
        done = False
        try:
            self.end = 0
            self._file = open(self._paths[1 - self._at], "wb")
            self.begin(_HEADER, self._generation, len(self._mark))
            self.put(self._mark, 0, len(self._mark))
            self.finish()
            self._dump()
            self.begin(_COMPLETE, 0, 0)
            self.finish()
            self.sync()
            done = True
        finally:
            self._turning = False
            self._whole = done
        self._at = 1 - self._at
        self._remove(1 - self._at)
        self.turns = (self.turns + 1) & _MASK

    def close(self):
        """Sync, and let go of the file."""
        self.sync()
        self._shut()

    def _write(self, buf, at, n):
        if n:
            self._file.write(buf, at, n)
            self.end += n
            self.bytes = (self.bytes + n) & _MASK

    def _shut(self):
        self._whole = False
        try:
            if self._file:
                self._file.close()
        except OSError:
            pass  # what it should have is in RAM, and goes to the next
        self._file = None

    def _remove(self, which):
        try:
            remove(self._paths[which])
        except OSError:
            pass  # its generation tells that it is the older one

    def _seed(self, offset):
        self._a = self._generation % _PRIME
        self._c = offset % _PRIME

    def _sum(self, buf, at, end):
        a = self._a
        c = self._c
        while at < end:
            a = (a + buf[at]) % _PRIME
            c = (c + a) % _PRIME
            at += 1
        self._a = a
        self._c = c

    # ---- what was there before

    def records(self):
        """Iterate over the whole records: kind, number, offset and size of the body.

        To be called first, and gone through before `start`; `read` has the bodies.
        """
        sizes = [self._open(0), self._open(1)]
        found = []  # (complete, generation) of each
        for which in (0, 1):
            self._open(which)
            if self._header(sizes[which]):
                complete = False
                for record in self._scan(sizes[which]):
                    complete = complete or record[0] == _COMPLETE
                found.append((complete, self._generation))
            else:
                found.append(None)
        self._at = self._choose(found)
        other = 1 - self._at
        nothing = 2 * OVERHEAD + len(self._mark)  # the size of a file in which nothing was kept
        self.torn = self.damaged = 0
        if found[self._at]:
            self._open(self._at)
            self._generation = found[self._at][1]
            for record in self._scan(sizes[self._at]):
                if 0 < record[0] < _COMPLETE:
                    yield record
            if not found[self._at][0] and sizes[self._at] > nothing:
                self.damaged += sizes[other]
            # any but a file that is in order, and alone, makes room for a new one
            self._whole = found[self._at][0] and not (sizes[other] or self.torn or self.damaged)
        elif max(sizes) > nothing:
            self.damaged = sum(sizes)
        else:
            self.torn = sum(sizes)

    def read(self, at, buf, n):
        """Read `n` bytes of a body, from this offset on, to the base of `buf`."""
        self._file.seek(at)
        return self._file.readinto(buf, n)

    def start(self):
        """Make ready to append; what `records` has told is in RAM now, for `dump`."""
        whole = self._whole
        self._shut()
        if not whole:
            self.turn()
            return
        self._file = open(self._paths[self._at], "ab")
        self._whole = True

    def _open(self, which):
        """Open one of the files; returns its size, 0 where there is none."""
        self._shut()
        try:
            self._file = open(self._paths[which], "rb")
            return self._file.seek(0, 2)
        except OSError:
            return 0

    @staticmethod
    def _choose(found):
        """Which of two files has all that was kept."""
        if not (found[0] and found[1]):
            return 1 if found[1] else 0
        newer = 1 if (found[1][1] - found[0][1]) & 0xFFFF < 0x8000 else 0
        return newer if found[newer][0] else 1 - newer

    def _header(self, size):
        """True where the file begins as a log of this kind."""
        n = len(self._mark)
        mark = bytearray(n)
        try:
            if size < n + OVERHEAD:
                return False
            self.read(0, self._head, _HEAD)
            self._generation = get_u16(self._head, 1)
            if self._head[0] != _HEADER or self._check(0, size) != n:
                return False
            self.read(_HEAD, mark, n)
        except OSError:
            pass
        return mark == self._mark

    def _check(self, at, end):
        """The size of the body of the record at this offset, -1 for none; `_head` has the rest."""
        try:
            return self._verify(at, end)
        except OSError:
            return -1

    def _verify(self, at, end):
        head = self._head
        self.read(at, head, _HEAD)
        size = head[3] << 16 | get_u16(head, 4)
        if at + size + OVERHEAD > end:
            return -1
        self._seed(at)
        self._sum(head, 0, _HEAD)
        piece = bytearray(64)
        left = size
        while left:
            n = min(left, 64)
            self._file.readinto(piece, n)
            self._sum(piece, 0, n)
            left -= n
        self._file.readinto(piece, 4)
        return size if get_u16(piece, 0) == self._a and get_u16(piece, 2) == self._c else -1

    def _scan(self, size):
        self.torn = self.damaged = self.end = at = 0
        while at + OVERHEAD <= size:
            n = self._check(at, size)
            if n < 0:
                at += 1
                continue
            self.damaged += at - self.end
            record = (self._head[0], get_u16(self._head, 1), at + _HEAD, n)
            at += n + OVERHEAD
            self.end = at
            yield record
        self.torn = size - self.end
