"""Transport over an open stream: a UART (serial line), a connected socket, any stream of the application.

from machine import UART
from umqtt5 import Client, serial

client = Client("uart", transport=serial.wrap(UART(1, 115200, timeout=0, rxbuf=1024)))
"""

import sys
from errno import ENOTCONN

from .optional.permanent_error import PermanentError

if sys.implementation.name == "cpython":
    from .cpython.compat import as_stream
else:

    def as_stream(stream):
        return stream


_DRAIN = 4096  # maximum number of bytes to drain in one `do_handshake`


def wrap(stream):
    """Return a transport whose connections use this stream; `host` and `port` are ignored.

    The stream needs MicroPython's `readinto(buf, n)` and `write(buf, at, n)` and must not block. Only the
    client may use it.

    A socket (an object with `setblocking`) must be connected. It is closed when the connection ends. After
    that each try to connect fails with PermanentError, until you set another socket:
    `transport.stream = another`. Any other stream is never closed. The next connection uses the stream again,
    and first drops the bytes that remain from the previous connection.
    """
    return StreamTransport(stream)


class StreamTransport:
    """The transport that `wrap` returns. The same object is the stream of each connection."""

    def __init__(self, stream):
        self.stream = stream

    def __call__(self, host, port):
        """Begin a connection; returns the stream. Raises PermanentError if the socket is closed."""
        if self.stream is None:
            raise PermanentError(ENOTCONN, "the socket is closed: set transport.stream to another")
        stream = as_stream(self.stream)
        self.sock = self.pollable = stream
        if hasattr(stream, "sock"):
            self.sock = stream.sock
        if hasattr(self.stream, "setblocking"):
            self.stream.setblocking(False)
        self.readinto = stream.readinto
        self.write = stream.write
        return self

    def do_handshake(self):
        """Drop the bytes of the previous connection, except on a socket, which serves only one connection."""
        if not hasattr(self.stream, "setblocking"):
            rest = bytearray(64)
            for _ in range(_DRAIN // 64):
                n = self.readinto(rest, 64)
                if n is None:
                    return 0
                if n == 0:
                    raise OSError(ENOTCONN, "the stream has ended")
            return 1
        return 0

    def close(self):
        """Close a socket; any other stream stays open."""
        if hasattr(self.stream, "setblocking"):
            self.stream.close()
            self.stream = None
