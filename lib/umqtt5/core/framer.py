"""Framer: finds MQTT packets in a receive buffer of fixed size, by their remaining length (2.1.4)."""

from .wire import get_varint, varint_size


class Framer:
    """Receive buffer `rx` of `size` bytes, in which packets are parsed without copying them.

    Read at most `max_read` bytes to the start of `read_buffer`, then call `commit`. After that call
    `next_packet` until it returns 0, then `prepare_read`.

    MicroPython's `readinto` cannot read to an offset. So bytes are read to the start of `rx` while `rx` is
    empty, otherwise into a small second buffer, from which `commit` appends them.
    """

    def __init__(self, size):
        self.rx = bytearray(size)
        self._chunk = self.read_buffer = bytearray(max(64, size >> 3))
        self.reset()

    def reset(self):
        """Drop all received bytes, at the beginning of a connection or while it is being closed."""
        self._at = self._have = 0
        self.first_byte = self.at = self.end = 0  # first byte and bounds of the packet examined last
        self.prepare_read()

    def commit(self, n):
        """Append `n` bytes that were read into `read_buffer`."""
        if self.read_buffer is self._chunk:
            if n == len(self._chunk):
                self.rx[self._have : self._have + n] = self._chunk
            else:
                for i in range(n):
                    self.rx[self._have + i] = self._chunk[i]
        self._have += n

    def next_packet(self):
        """Find and consume the next complete packet; set `first_byte`, `at` and `end`.

        What follows the fixed header of the packet is `rx[at:end]`. Returns 1 if there is a complete packet,
        0 if there is none, and a reason code on an error: 0x81 if the length is malformed, then `end` is 0,
        0x95 if the packet is larger than `rx`. A packet with an error is not consumed.
        """
        rx = self.rx
        at = self._at + 2
        if self._have < at:
            return 0
        self.first_byte = rx[self._at]
        size = rx[at - 1]
        if size > 0x7F:
            size = get_varint(rx, at - 1, self._have)
            if size < 0:
                self.end = 0
                return 0x81 if size == -2 else 0
            at += varint_size(size) - 1
        self.at = at
        self.end = at + size
        if self.end > self._have:
            return 0x95 if self.end - self._at > len(rx) else 0
        self._at = self.end
        return 1

    def prepare_read(self):
        """Set `read_buffer` and `max_read` for the next read, after the complete packets are consumed."""
        if self._at == self._have:
            self._at = self._have = 0
            if self.read_buffer is not self.rx:
                self.read_buffer = self.rx
                self.max_read = len(self.rx)
            return
        size = get_varint(self.rx, self._at + 1, self._have)  # remaining length of the incomplete packet
        size = 5 if size < 0 else size + 1 + varint_size(size)
        if self._at and self._at + size > len(self.rx):
            self._have -= self._at
            for i in range(self._have):
                self.rx[i] = self.rx[self._at + i]
            self._at = 0
        # read only the rest of this packet, so that the next read can fill `rx` from its start
        self.read_buffer = self._chunk
        self.max_read = min(len(self._chunk), self._at + size - self._have, len(self.rx) - self._have)
