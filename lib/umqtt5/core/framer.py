"""Where one packet ends and the next begins, in a receive buffer of fixed size (2.1.4)."""

from .wire import get_varint, varint_size


class Framer:
    """Bytes land in `into`, at its base; whole packets are found in `rx`, in place.

    `readinto` of MicroPython's streams can't land at an offset. So a read lands at the base
    of `rx` while that is empty, else in a small chunk beside it that is appended.
    """

    def __init__(self, size):
        self.rx = bytearray(size)
        self._chunk = bytearray(max(64, size >> 3))
        self.reset()

    def reset(self):
        """Forget all that came: a new connection."""
        self._at = self._have = 0
        self.first_byte = self.at = self.end = 0  # the packet that `next` has found
        self.prepare_read()

    def commit(self, n):
        """`n` bytes have been read to the base of `into`."""
        if self.read_buffer is self._chunk:
            if n == len(self._chunk):
                self.rx[self._have : self._have + n] = self._chunk
            else:
                for i in range(n):
                    self.rx[self._have + i] = self._chunk[i]
        self._have += n

    def next_packet(self):
        """1 where a whole packet is there: its `first` byte, and its rest from `at` to `end`.

        It counts as taken. 0 where there is none yet; 0x81 where the length is malformed, 0x95
        where the packet is larger than `rx`.
        """
        rx = self.rx
        at = self._at + 2
        if self._have < at:
            return 0
        size = rx[at - 1]
        if size > 0x7F:
            size = get_varint(rx, at - 1, self._have)
            if size < 0:
                return 0x81 if size == -2 else 0
            at += varint_size(size) - 1
        if at + size > self._have:
            return 0x95 if at - self._at + size > len(rx) else 0
        self.first_byte = rx[self._at]
        self.at = at
        self._at = self.end = at + size
        return 1

    def prepare_read(self):
        """No whole packet is left: choose where the next bytes land, and how many at most."""
        if self._at == self._have:
            self._at = self._have = 0
            self.read_buffer = self.rx
            self.max_read = len(self.rx)
            return
        size = get_varint(self.rx, self._at + 1, self._have)  # of the cut packet, where it is known
        size = 5 if size < 0 else size + 1 + varint_size(size)
        if self._at and self._at + size > len(self.rx):
            self._have -= self._at
            for i in range(self._have):
                self.rx[i] = self.rx[self._at + i]
            self._at = 0
        # no more than the rest of it: then the next read lands at the base, in full size
        self.read_buffer = self._chunk
        self.max_read = min(len(self._chunk), self._at + size - self._have, len(self.rx) - self._have)
