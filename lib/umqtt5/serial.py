"""A stream that the user has opened: a UART, a socket, anything with `readinto` and `write`.

from machine import UART
from umqtt5 import Client
from umqtt5.serial import given

client = Client("uart", transport=given(UART(1, 115200, timeout=0, rxbuf=1024)))
"""

import sys
from errno import ENOTCONN

from .optional.permanent_error import LastingError

if sys.implementation.name == "cpython":
    from .cpython.compat import adapt
else:

    def adapt(stream):
        return stream


_STALE = 4096  # bytes that are drained at a time


def given(stream):
    """A transport whose connections all use this stream; host and port are not looked at.

    It has to have `readinto(buf, n)` and `write(buf, at, n)` as MicroPython's streams do, must not
    block, and is the client's while it connects. A socket (what has `setblocking`) is
    connected already, and is closed with the connection: then each try is a LastingError, until
    another is put in its place: `transport.stream = another`. Any other stream is never closed:
    the next connection uses it again, and first throws away what still comes of the one before.
    """
    return Given(stream)


class Given:
    """The transport, and its stream."""

    def __init__(self, stream):
        self.stream = stream

    def __call__(self, host, port):
        """Begin a connection."""
        if self.stream is None:
            raise LastingError(ENOTCONN, "the socket that was given is closed: give another")
        stream = adapt(self.stream)
        self.sock = self.pollable = stream
        if hasattr(stream, "sock"):
            self.sock = stream.sock
        if hasattr(self.stream, "setblocking"):
            self.stream.setblocking(False)
        self.readinto = stream.readinto
        self.write = stream.write
        return self

    def opening(self):
        """Drain what is stale; a socket is new, and may have been spoken to."""
        if not hasattr(self.stream, "setblocking"):
            rest = bytearray(64)
            for _ in range(_STALE // 64):
                n = self.readinto(rest, 64)
                if n is None:
                    return 0
                if n == 0:
                    raise OSError(ENOTCONN, "the stream that was given has ended")
            return 1
        return 0

    def close(self):
        if hasattr(self.stream, "setblocking"):
            self.stream.close()
            self.stream = None
