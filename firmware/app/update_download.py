"""Update download: receives the files of an over-the-air update and installs them in the unused A/B slot.

The device publishes requests, `[file, offset]`, to `<base>/update/request` and receives chunks from
`<base>/update/chunk`. A chunk is the file number (2 bytes) and the offset (4 bytes), both big-endian, and the
data. File 0 is the manifest, which has one line for each of the other files:

    <size> <SHA-256 in hexadecimal> <path>

A file that already exists on the device is copied instead of requested. Files of the running version are not
changed: the new files are written to the folder of the unused slot. When all files are complete and have been
verified again, the slot is switched and the board is reset.
"""

import json
import os
from hashlib import sha256
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

import slot

_HEAD = const(6)  # bytes before the data of a chunk
_RETRY = const(5000)  # ms without a chunk after which the request is repeated
_MAX_REQUESTS = const(24)  # requests without a response before the download fails
_MAX_FILES = const(100)
_MAX_FILE_SIZE = const(1 << 20)  # bytes
_BUFFER = const(256)  # bytes
_FOLDERS = ("app", "actuators", "sensors", "umqtt5", "umqtt5/optional")


class UpdateDownload:
    """The download of a checked `offer`; its state and result are reported to `update`, an Update.

    Raises OSError if flash fails, ValueError if the manifest is too large.
    """

    def __init__(self, client, base, offer, update):
        self._client = client
        self._request_topic = base + "/update/request"
        self._chunk_topic = base + "/update/chunk"
        self.offer = offer
        self._update = update
        self._current = slot.read()[0]
        self._folder = "b" if self._current == "a" else "a"
        self._buffer = bytearray(_BUFFER)
        self._requests = 0  # requests since the last chunk
        self._error = None
        self._file = None
        self._number = -1
        self._line = 0  # offset of the next line in the manifest
        _clear(self._folder)
        os.mkdir(self._folder)
        if offer["size"] > _MAX_FILE_SIZE:
            raise ValueError("a manifest of %d bytes is too large" % offer["size"])
        self._start_file(0, "manifest", offer["size"], offer["sha256"])
        client.subscribe(self._chunk_topic, self._on_chunk, qos=1, retain_handling=2)
        update.set_state("receiving", offered=offer["version"])

    def run(self, now):
        """Request missing data or install a complete update; returns the time in ms until the next call."""
        if self._error:
            self._end(self._error)
            return 0
        if self._size is None:  # all files are complete
            self._install()
            return 0
        if ticks_diff(self._due, now) <= 0:
            if self._requests >= _MAX_REQUESTS:
                self._end("no data received for 2 minutes")
                return 0
            self._request()
        return max(1, ticks_diff(self._due, now))

    def _request(self):
        self._due = ticks_add(ticks_ms(), _RETRY)
        if self._client.publish(self._request_topic, json.dumps([self._number, self._at]), qos=1):
            self._requests += 1

    def _start_file(self, number, path, size, digest):
        self._number = number
        self._size = size
        self._digest = digest
        self._at = 0
        self._sum = sha256()
        self._file = open(self._folder + "/" + path, "wb")
        self._due = ticks_ms()
        self._requests = 0

    def _on_chunk(self, message):
        """Store a chunk. Errors are reported by `run`; the message is acknowledged in any case."""
        if message.retain or self._error or self._size is None or len(message) <= _HEAD:
            return
        try:
            self._store(message.payload)
        except (OSError, ValueError, MemoryError) as error:
            self._error = error

    def _store(self, data):
        number, at = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:_HEAD], "big")
        if number != self._number or at != self._at:
            return  # a duplicate, or a chunk that follows a lost one; `run` requests the lost one again
        data = memoryview(data)[_HEAD:]
        if at + len(data) > self._size:
            raise ValueError("file %d is longer than %d bytes" % (number, self._size))
        self._file.write(data)
        self._sum.update(data)
        self._at += len(data)
        self._requests = 0
        self._due = ticks_add(ticks_ms(), _RETRY)
        if self._at == self._size:
            self._finish_file()

    def _finish_file(self):
        self._file.close()
        self._file = None
        if _hex(self._sum) != self._digest:
            raise ValueError("file %d has the wrong SHA-256" % self._number)
        self._start_next_file()

    def _start_next_file(self):
        """Start to download the next file of the manifest that does not exist on the device yet."""
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
                size, digest, path = _parse_line(line, number)
                self._make_folders(path)
                if not self._copy(path, size, digest):
                    self._start_file(number, path, size, digest)
                    return

    def _make_folders(self, path):
        end = path.find("/")
        while end > 0:
            try:
                os.mkdir(self._folder + "/" + path[:end])
            except OSError:
                pass  # the folder exists already; otherwise opening the file fails later
            end = path.find("/", end + 1)

    def _copy(self, path, size, digest):
        """Copy the file from the running or the cable-installed version; returns False if neither has it."""
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
        """Return the SHA-256 of a file in hexadecimal; copies the file to `target` unless that is None."""
        sum = sha256()
        buffer = memoryview(self._buffer)
        with open(path, "rb") as file:
            n = file.readinto(buffer)
            while n:
                sum.update(buffer[:n])
                if target:
                    target.write(buffer[:n])
                n = file.readinto(buffer)
        return _hex(sum)

    def _install(self):
        """Verify all files again and switch the slot."""
        try:
            with open(self._folder + "/manifest", "rb") as manifest:
                number = 0
                for line in manifest:
                    number += 1
                    size, digest, path = _parse_line(line, number)
                    if self._read(self._folder + "/" + path, None) != digest:
                        raise ValueError("%s was changed on flash" % path)
            with open(self._folder + "/version", "w") as file:
                file.write("%d\n" % self.offer["version"])
            slot.write(self._folder, self._current, 0)
        except (OSError, ValueError) as error:
            self._end(error)
            return
        self._update.download_ended()

    def close(self):
        """Cancel the download and delete its files. Raises OSError."""
        if self._file:
            self._file.close()
            self._file = None
        _clear(self._folder)

    def _end(self, error):
        self._client.unsubscribe(self._chunk_topic)
        try:
            self.close()
        except OSError as another:
            print("update: %s" % another)
        self._update.download_ended(error)


def _parse_line(line, number):
    """Return (size, SHA-256, path) of a line of the manifest. Raises ValueError."""
    try:
        words = str(line, "utf-8").split()
        size, digest, path = int(words[0]), words[1], words[2]
    except (ValueError, IndexError):
        raise ValueError("line %d of the manifest: expected size, SHA-256 and path" % number)
    folder, _, name = path.rpartition("/")
    allowed = path[-4:] == ".mpy" and (folder in _FOLDERS or not folder) and 4 < len(name) < 40
    # boot.py, main.py and slot.mpy are never replaced, because they perform the rollback
    if not allowed or "\\" in path or ".." in path or path == "slot.mpy" or not 0 < size <= _MAX_FILE_SIZE:
        raise ValueError("line %d of the manifest: %s is not allowed in an update" % (number, path))
    if number > _MAX_FILES:
        raise ValueError("more than %d files" % _MAX_FILES)
    return size, digest, path


def _hex(sum):
    return "".join(["%02x" % c for c in sum.digest()])


def _clear(folder):
    """Remove a folder and its contents, if it exists. Raises OSError."""
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
