"""Replacement for the module `socket` that counts socket writes and bytes."""

import io
import select
import socket
import sys


class SocketCounts:
    """Number of writes and of bytes written, of all sockets together."""

    writes = bytes = 0


class Socket(io.IOBase):
    """A real socket with counters. It is a stream, so `select.poll` accepts it, too."""

    def __init__(self, *arguments):
        self._real = socket.socket(*arguments)
        self._poll = select.poll()

    def _count(self, n):
        SocketCounts.writes += 1
        SocketCounts.bytes += n or 0
        return n

    def write(self, *arguments):
        if len(arguments) == 2 and arguments[1] < 0:
            arguments = arguments[:1]
        return self._count(self._real.write(*arguments))

    def send(self, data):
        return self._count(self._real.send(data))

    def ioctl(self, request, argument):
        if request != 3:  # MP_STREAM_POLL
            return 0
        self._poll.register(self._real, argument)
        ready = self._poll.poll(0)
        return ready[0][1] if ready else 0

    def readinto(self, *arguments):
        return self._real.readinto(*arguments)

    def read(self, *arguments):
        return self._real.read(*arguments)

    def recv(self, n):
        return self._real.recv(n)

    def connect(self, address):
        self._real.connect(address)

    def setblocking(self, flag):
        self._real.setblocking(flag)

    def settimeout(self, seconds):
        self._real.settimeout(seconds)

    def setsockopt(self, *arguments):
        self._real.setsockopt(*arguments)

    def close(self):
        self._real.close()


class Module:
    """Replacement for the module `socket`."""

    def __getattr__(self, name):
        return Socket if name == "socket" else getattr(socket, name)


def install():
    """Replace the module `socket` for all later imports; returns SocketCounts."""
    sys.modules["socket"] = sys.modules["usocket"] = Module()
    return SocketCounts
