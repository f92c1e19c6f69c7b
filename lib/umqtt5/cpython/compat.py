"""MicroPython API on CPython: `const`, ticks_ms, sleep_ms, stream methods, `ipoll`. Not used on a board."""

import os
import selectors
import socket
import sys
import time
import traceback
import types

if "micropython" not in sys.modules:
    micropython = types.ModuleType("micropython")
    micropython.const = lambda value: value  # type: ignore[attr-defined]
    sys.modules["micropython"] = micropython


def print_exception(error):
    """Print a traceback, as MicroPython's `sys.print_exception` does."""
    traceback.print_exception(type(error), error, error.__traceback__)


def ticks_ms():
    """Return a monotonic time in ms, which wraps at 2**30 as on a board."""
    return time.monotonic_ns() // 1_000_000 & 0x3FFFFFFF


def ticks_diff(a, b):
    """Return the number of ms from `b` to `a`, as on a board."""
    return (a - b + 0x20000000 & 0x3FFFFFFF) - 0x20000000


def sleep_ms(ms):
    """Sleep for `ms` milliseconds."""
    time.sleep(ms / 1000)


class Stream:
    """A non-blocking socket with the methods of a MicroPython stream; see `umqtt5.tcp`."""

    def __init__(self, sock):
        self.sock = sock

    def readinto(self, buf, n):
        if not n:
            return None  # for `recv_into`, 0 means the size of the buffer
        try:
            return self.sock.recv_into(buf, n)
        except (BlockingIOError, InterruptedError):
            return None

    def write(self, buf, at, n):
        try:
            return self.sock.send(memoryview(buf)[at : at + n])
        except (BlockingIOError, InterruptedError):
            return None

    def close(self):
        self.sock.close()

    def fileno(self):
        return self.sock.fileno()


class poll:  # noqa: N801  named as in MicroPython's `select`
    """MicroPython's `select.poll` with `ipoll`. Events: 1 is POLLIN, 4 is POLLOUT."""

    def __init__(self):
        self._selector = selectors.DefaultSelector()

    def register(self, stream, events):
        self._selector.register(stream, self._events(events))

    def modify(self, stream, events):
        self._selector.modify(stream, self._events(events))

    def unregister(self, stream):
        self._selector.unregister(stream)

    def ipoll(self, ms):
        for key in self._selector.get_map().values():
            # data that TLS has already read and decrypted does not make the socket readable
            if (
                key.events & selectors.EVENT_READ
                and hasattr(key.fileobj, "pending")
                and key.fileobj.pending()
            ):
                yield key.fileobj, 1
                return
        for key, events in self._selector.select(ms / 1000):
            yield key.fileobj, (1 if events & 1 else 0) | (4 if events & 2 else 0)

    @staticmethod
    def _events(events):
        return (selectors.EVENT_READ if events & 1 else 0) | (selectors.EVENT_WRITE if events & 4 else 0)


class NonBlockingFile:
    """An unbuffered, non-blocking file (a serial port) with the methods of a MicroPython stream."""

    def __init__(self, file):
        self.file = file

    def readinto(self, buf, n):
        return self.file.readinto(memoryview(buf)[:n])

    def write(self, buf, at, n):
        return self.file.write(memoryview(buf)[at : at + n])

    def fileno(self):
        return self.file.fileno()


class SyncedFile(NonBlockingFile):
    """A file with MicroPython's methods, whose `flush` returns when all data is on the disk."""

    def seek(self, offset, whence=0):
        return self.file.seek(offset, whence)

    def flush(self):
        os.fsync(self.file.fileno())

    def close(self):
        self.file.close()


def open_file(path, mode):
    """Open a binary file, as MicroPython's `open` does."""
    return SyncedFile(open(path, mode, buffering=0))


def as_stream(stream):
    """Return a socket, a file or a MicroPython stream as a MicroPython stream."""
    if isinstance(stream, socket.socket):
        return Stream(stream)
    return NonBlockingFile(stream) if hasattr(stream, "fileno") else stream
