"""Search for the valid records of a damaged log, in a time that is proportional to the size of the file.

Each offset of damaged bytes may be the start of a record of any size. To read all of these bodies would take
a time that grows with the square of the size. Therefore the search reads the file once and stores the state
of one running checksum at the beginning of each block. The checksum of a record is the difference between the
states at its end and at its start, so the check of a record reads less than two blocks.
"""

from array import array

from micropython import const

from ..core.wire import get_u16

_PRIME = const(65521)
_BLOCK = const(64)
_HEAD = const(6)  # bytes of a record in front of its body
_OVERHEAD = const(10)  # bytes of a record in addition to its body


class RecordSearch:
    """Search in the open file of a `RecordLog`, from the offset `start` to `end`, the size of the file.

    It allocates 4 bytes for each 64 bytes of the file.
    """

    def __init__(self, log, start, end):
        self._log = log
        self._base = start - start % _BLOCK
        self._end = end
        self._window = bytearray(_BLOCK + _HEAD)  # the bytes from `_window_start` on
        self._piece = bytearray(_BLOCK + 4)
        self._a = self._b = 0  # the two parts of the running checksum
        blocks = (end - self._base) // _BLOCK + 1
        self._block_a = array("H", bytearray(2 * blocks))
        self._block_b = array("H", bytearray(2 * blocks))
        for i in range(blocks):
            self._block_a[i] = self._a
            self._block_b[i] = self._b
            self._load(self._piece, self._base + i * _BLOCK, _BLOCK)
            self._add(_BLOCK)

    def find(self, at):
        """Return the offset of the first valid record from offset `at` on, the end of the file if none.

        The head of the record is in `_head` of the log.
        """
        self._set_checksum(at)
        a, b, window = self._a, self._b, self._window
        i = _BLOCK
        while at + _OVERHEAD <= self._end:
            if i == _BLOCK:
                self._load(window, at, _BLOCK + _HEAD)
                i = 0
            # kind 0 is the header of the file, which is not valid elsewhere
            if window[i] and not window[i + 3] << 16 > self._end:
                size = window[i + 3] << 16 | get_u16(window, i + 4)
                if at + size + _OVERHEAD <= self._end and self._is_valid(at, _HEAD + size, a, b):
                    self._log._head[:] = window[i : i + _HEAD]
                    return at
            a = (a + window[i]) % _PRIME
            b = (b + a) % _PRIME
            i += 1
            at += 1
        return self._end

    def _is_valid(self, at, n, a, b):
        """Return True if the checksum follows the `n` bytes at this offset; `a`, `b` is the state there."""
        self._set_checksum(at + n)  # it has loaded the checksum of the record, too
        to = (at + n - self._base) % _BLOCK
        seed = self._log._generation
        return (
            get_u16(self._piece, to) == (seed + self._a - a) % _PRIME
            and get_u16(self._piece, to + 2) == (at + self._b - b + n * (seed - a)) % _PRIME
        )

    def _set_checksum(self, at):
        """Set `_a` and `_b` to the state of the running checksum at this offset."""
        block, rest = divmod(at - self._base, _BLOCK)
        self._a = self._block_a[block]
        self._b = self._block_b[block]
        self._load(self._piece, at - rest, rest + 4)
        self._add(rest)

    def _add(self, n):
        """Add the first `n` bytes of `_piece` to the running checksum."""
        a = self._a
        b = self._b
        for i in range(n):
            a += self._piece[i]
            b += a
        self._a = a % _PRIME
        self._b = b % _PRIME

    def _load(self, buf, at, n):
        """Read `n` bytes at this offset; bytes that can't be read become 0."""
        done = 0
        try:
            done = self._log.read(at, buf, n) or 0
        except OSError:
            pass
        for i in range(done, n):
            buf[i] = 0
