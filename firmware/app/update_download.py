"""An update on its way to flash. `update` loads it when one is offered.

The device asks at `<base>/update/request`, `[file, offset]`, and gets pieces at `<base>/update/chunk`:
file 2, offset 4, big end first, then the bytes. File 0 is the manifest, a line for each other file:

    <size> <SHA-256 in hexadecimal> <path>

A file that is here already, in any of the folders, is copied and not asked for. Nothing that runs
is touched: the files go to the folder that is not in use. When all are there and have
been read again, the choice is written, and the board is reset.
"""

import json
import os
from hashlib import sha256
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

import slot

_HEAD = const(6)
_ASK = const(5000)  # ms without a piece until it asks again
_PATIENCE = const(24)  # times that it asks in vain
_MOST = const(100)  # files
_LARGEST = const(1 << 20)  # bytes of a file
_PIECE = const(256)  # bytes that are read at a time
_FOLDERS = ("app", "actuators", "sensors", "umqtt5", "umqtt5/optional")


class UpdateDownload:
    """`offer` is checked. `update` is told by `set_state` and `download_ended`. Raises OSError."""

    def __init__(self, client, base, offer, update):
        self._client = client
        self._requests = base + "/update/request"
        self._chunks = base + "/update/chunk"
        self.offer = offer
        self._update = update
        self._current = slot.read()[0]
        self._folder = "b" if self._current == "a" else "a"
        self._buffer = bytearray(_PIECE)
        self._asked = 0
        self._error = None
        self._file = None
        self._number = -1
        self._line = 0  # of the manifest: where the next begins
        _clear(self._folder)
        os.mkdir(self._folder)
        if offer["size"] > _LARGEST:
            raise ValueError("a manifest of %d bytes" % offer["size"])
        self._begin(0, "manifest", offer["size"], offer["sha256"])
        client.subscribe(self._chunks, self._take, qos=1, retain_handling=2)
        update.set_state("receiving", offered=offer["version"])

    def run(self, now):
        """Ask where nothing comes; returns the ms until it is due."""
        if self._error:
            self._end(self._error)
            return 0
        if self._size is None:  # all are there
            self._install()
            return 0
        if ticks_diff(self._due, now) <= 0:
            if self._asked >= _PATIENCE:
                self._end("nobody sends it")
                return 0
            self._ask()
        return max(1, ticks_diff(self._due, now))

    def _ask(self):
        self._due = ticks_add(ticks_ms(), _ASK)
        if self._client.publish(self._requests, json.dumps([self._number, self._at]), qos=1):
            self._asked += 1

    def _begin(self, number, path, size, digest):
        """Begin with a file."""
        self._number = number
        self._size = size
        self._digest = digest
        self._at = 0
        self._sum = sha256()
        self._file = open(self._folder + "/" + path, "wb")
        self._due = ticks_ms()
        self._asked = 0

    def _take(self, message):
        """A piece has come. What it raises is told, and the message is acknowledged all the same."""
        if message.retain or self._error or self._size is None or len(message) <= _HEAD:
            return
        try:
            self._piece(message.payload)
        except (OSError, ValueError, MemoryError) as error:
            self._error = error

    def _piece(self, data):
        number, at = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:_HEAD], "big")
        if number != self._number or at != self._at:
            return  # one that has come twice, or before another: it is asked for again
        data = memoryview(data)[_HEAD:]
        if at + len(data) > self._size:
            raise ValueError("file %d is longer than %d bytes" % (number, self._size))
        self._file.write(data)
        self._sum.update(data)
        self._at += len(data)
        self._asked = 0
        self._due = ticks_add(ticks_ms(), _ASK)
        if self._at == self._size:
            self._finish()

    def _finish(self):
        """A file is complete."""
        self._file.close()
        self._file = None
        if _hex(self._sum) != self._digest:
            raise ValueError("file %d has the wrong SHA-256" % self._number)
        self._next()

    def _next(self):
        """The next file that is not here."""
        number = self._number
        with open(self._folder + "/manifest", "rb") as manifest:
            manifest.seek(self._line)
            while True:
                line = manifest.readline()
                if not line:
                    self._size = None
                    return
                number += 1
                self._line += len(line)
                size, digest, path = _entry(line, number)
                self._make(path)
                if not self._copy(path, size, digest):
                    self._begin(number, path, size, digest)
                    return

    def _make(self, path):
        """The folder that a file lies in."""
        end = path.find("/")
        while end > 0:
            try:
                os.mkdir(self._folder + "/" + path[:end])
            except OSError:
                pass  # it is there, or the file can't be opened
            end = path.find("/", end + 1)

    def _copy(self, path, size, digest):
        """Copy a file that is here, and the same. Returns False where there is none."""
        for folder in {".", self._current}:
            source = folder + "/" + path
            try:
                if os.stat(source)[6] != size or self._read(source, None) != digest:
                    continue
            except OSError:
                continue
            with open(self._folder + "/" + path, "wb") as target:
                return self._read(source, target) == digest
        return False

    def _read(self, path, target):
        """SHA-256 of a file, which is copied to `target` on the way."""
        sum = sha256()
        piece = memoryview(self._buffer)
        with open(path, "rb") as file:
            n = file.readinto(piece)
            while n:
                sum.update(piece[:n])
                if target:
                    target.write(piece[:n])
                n = file.readinto(piece)
        return _hex(sum)

    def _install(self):
        """Read all of it again, and choose it."""
        try:
            with open(self._folder + "/manifest", "rb") as manifest:
                number = 0
                for line in manifest:
                    number += 1
                    size, digest, path = _entry(line, number)
                    if self._read(self._folder + "/" + path, None) != digest:
                        raise ValueError("%s has changed on flash" % path)
            with open(self._folder + "/version", "w") as file:
                file.write("%d\n" % self.offer["version"])
            slot.write(self._folder, self._current, 0)
        except (OSError, ValueError) as error:
            self._end(error)
            return
        self._update.download_ended()

    def close(self):
        """Let go of it. Raises OSError."""
        if self._file:
            self._file.close()
            self._file = None
        _clear(self._folder)

    def _end(self, error):
        self._client.unsubscribe(self._chunks)
        try:
            self.close()
        except OSError as another:
            print("update: %s" % another)
        self._update.download_ended(error)


def _entry(line, number):
    """(size, SHA-256, path) of a line of the manifest. Raises ValueError."""
    try:
        words = str(line, "utf-8").split()
        size, digest, path = int(words[0]), words[1], words[2]
    except (ValueError, IndexError):
        raise ValueError("line %d of the manifest: expected size, SHA-256 and path" % number)
    folder, _, name = path.rpartition("/")
    right = path[-4:] == ".mpy" and (folder in _FOLDERS or not folder) and 4 < len(name) < 40
    # neither boot.py, main.py nor slot: what goes back is never replaced
    if not right or "\\" in path or ".." in path or path == "slot.mpy" or not 0 < size <= _LARGEST:
        raise ValueError("line %d of the manifest: %s is not for an update" % (number, path))
    if number > _MOST:
        raise ValueError("more than %d files" % _MOST)
    return size, digest, path


def _hex(sum):
    return "".join(["%02x" % c for c in sum.digest()])


def _clear(folder):
    """Remove a folder and what is in it, as far as it is there. Raises OSError."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = folder + "/" + name
        if os.stat(path)[0] & 0x4000:
            _clear(path)
        else:
            os.remove(path)
    os.rmdir(folder)
