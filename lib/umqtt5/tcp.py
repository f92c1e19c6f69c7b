"""TCP transport: a non-blocking socket. The interface of all transports is described here.

A transport is a function `(host, port)` that begins a connection and returns its stream. A stream is an
object that `select.poll` can watch, with these methods:

- `readinto(buf, n)` reads at most `n` bytes to the start of `buf`. It returns the number of bytes read, None
  if no bytes are available yet, 0 at the end of the stream.
- `write(buf, at, n)` writes at most `n` bytes from `buf[at]`. It returns the number of bytes written, or None
  if the stream accepts none. After None the client calls `write` again with the same bytes, perhaps followed
  by more.
- `close()` closes the connection.

Errors are raised as OSError. An error with the attribute `is_permanent = True` can't be fixed by retrying. A
stream may also have:

- `do_handshake()`: called when the stream is ready, until the connection is open. It returns 0 if the
  connection is open, otherwise the event to wait for: 1 to read, 4 to write.
- `pollable`: the object that `poll` watches instead of the stream.
- `sock`: the socket below the stream, which TLS may wrap.

A transport may raise `dns.LookupPending` instead of returning a stream. When the name is looked up, the
client calls the transport again. So a transport over `tcp.connect` must allow this, and must not catch it.

docs/transports.md shows how to write a transport.
"""

import socket
from errno import EINPROGRESS


def connect(host, port):
    """Begin a TCP connection; returns the stream. Raises OSError.

    Does not wait. If `host` is a name whose address is not known yet, raises `dns.LookupPending`: the client
    looks up the name, then calls `connect` again.
    """
    if not _is_ipv4(host):
        from .dns import resolve

        host = resolve(host)
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    for info in found:
        if info[0] == socket.AF_INET:  # prefer IPv4, because every broker has an IPv4 address
            break
    else:
        info = found[0]
    stream = socket.socket(info[0], info[1], info[2])
    try:
        stream.setblocking(False)
        _switch_off_nagle(stream)
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


def _is_ipv4(host):
    """Return True if `host` is an IPv4 address."""
    parts = host.split(".")
    for part in parts:
        if not part.isdigit() or len(part) > 3 or int(part) > 255:
            return False
    return len(parts) == 4


def _switch_off_nagle(sock):
    """Switch off Nagle's algorithm, which delays a packet until the previous one is acknowledged."""
    # The option is 64 on ports that use lwIP without an operating system, and 1 elsewhere. The unix port has
    # the option, but no constant. On other ports without the constant, `setsockopt` would print a warning.
    option = getattr(socket, "TCP_NODELAY", 1 if hasattr(socket, "AF_UNIX") else 0)
    if option:
        try:
            sock.setsockopt(getattr(socket, "IPPROTO_TCP", 6), option, 1)
        except OSError:
            pass  # this port of MicroPython does not have the option
