"""What CPython lacks of MicroPython: `const`, ticks, streams, `ipoll`. Not put on a board."""

import os
import selectors
import socket
import sys
import time
import traceback
import types

if "micropython" not in sys.modules:
    micropython = types.ModuleType("micropython")
    micropython.const = lambda value: value
    sys.modules["micropython"] = micropython


def print_exception(error):
    """`sys.print_exception` of MicroPython."""
    traceback.print_exception(type(error), error, error.__traceback__)


def ticks_ms():
    """ms of a steady clock; wraps at 2**30 like a board's."""
    return time.monotonic_ns() // 1_000_000 & 0x3FFFFFFF


def sleep_ms(ms):
    time.sleep(ms / 1000)


class Stream:
    """A non-blocking socket with the methods of a MicroPython stream."""

    def __init__(self, sock):
        self.sock = sock

    def readinto(self, buf, n):
        if not n:
            return None  # recv_into takes 0 for all that fits
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


class poll:  # noqa: N801  the name in MicroPython's select
    """`select.poll` with `ipoll`; 1 is POLLIN, 4 is POLLOUT, as in MicroPython."""

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
            # what TLS has read and decrypted is not in the socket any more
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


class File:
    """An unbuffered, non-blocking file, such as a serial line, with the methods of a MicroPython stream."""

    def __init__(self, file):
        self.file = file

    def readinto(self, buf, n):
        return self.file.readinto(memoryview(buf)[:n])

    def write(self, buf, at, n):
        return self.file.write(memoryview(buf)[at : at + n])

    def fileno(self):
        return self.file.fileno()


class OnFlash(File):
    """A file as MicroPython has it, whose `flush` returns when all of it is kept."""

    def seek(self, offset, whence=0):
        return self.file.seek(offset, whence)

    def flush(self):
        os.fsync(self.file.fileno())

    def close(self):
        self.file.close()


def open_file(path, mode):
    """`open` of MicroPython, for bytes."""
    return OnFlash(open(path, mode, buffering=0))


def adapt(stream):
    """What `given` was given, as a MicroPython stream."""
    if isinstance(stream, socket.socket):
        return Stream(stream)
    return File(stream) if hasattr(stream, "fileno") else stream
