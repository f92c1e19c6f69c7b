"""TCP, as a stream that does not block.

A transport is a function `(host, port)` that returns a stream on which a connection has
begun: an object of MicroPython's stream protocol, with

- `readinto(buf, n)`: at most `n` bytes to the base of `buf`; None where there are none yet,
  0 at the end of the stream,
- `write(buf, at, n)`: how many of the `n` bytes from `buf[at]` on were taken; None for none, then
  it is called with the same bytes again, and maybe more behind them,
- `close()`,

that `select.poll` can watch. Errors are OSError; one with `lasting = True` can't mend by itself. It
may have, too,

- `opening()`: called when the stream is ready while the connection is opened; 0 when it is open,
  else what to wait for, 1 to read, 4 to write,
- `pollable`: what `poll` watches in its place,
- `sock`: the socket below it, which TLS may wrap.

docs/transports.md shows how to write one.
"""

import socket
from errno import EINPROGRESS

from micropython import const

_IPPROTO_TCP = const(6)
_TCP_NODELAY = const(1)


def connect(host, port):
    """Begin a connection. Looking up a name blocks, for as long as the system's resolver does."""
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    for info in found:
        if info[0] == socket.AF_INET:  # what every broker has
            break
    else:
        info = found[0]
    stream = socket.socket(info[0], info[1], info[2])
    try:
        stream.setblocking(False)
        try:
            # with Nagle's algorithm a packet waits for the acknowledgement of the one before
            stream.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
        except OSError:
            pass  # a port without it
        try:
            stream.connect(info[4])
        except OSError as error:
            if error.errno != EINPROGRESS:
                raise
    except OSError:
        stream.close()
        raise
    if hasattr(stream, "readinto"):
        return stream
    from .cpython.compat import Stream

    return Stream(stream)
