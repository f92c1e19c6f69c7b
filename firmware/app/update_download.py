"""Update download: receives the files of an over-the-air update and installs them in the unused A/B slot.

The device publishes requests, `[file, offset, "<tag of the offer>"]`, to `<base>/update/request` and receives
chunks from `<base>/update/chunk`. A chunk consists of 8 bytes of authentication, the file number (2 bytes),
the offset (4 bytes), both big-endian, and the data. The authentication is the start of the HMAC-SHA256, with
the key of the device, of "umqtt5 chunk ", the signature of the offer, and the rest of the chunk. Chunks of
others, or of earlier offers, are ignored.

File 0 is the manifest, which has one line for each of the other files, in ascending order of the paths:

    <size> <SHA-256 in hexadecimal> <path>

A file that already exists on the device is copied instead of requested. Files of the running version are not
changed: the new files are written to the folder of the unused slot, one after another into one file, see
archive.py. When all files are complete and have been read again from flash, the slot is switched and the
board is reset. `run` copies or reads one file at a time, because the watchdog must be fed in between.

If flash has no room for the new files, and the running version came over the air, the version that was
installed by cable is removed.
"""

import json
import os
from binascii import crc32
from hashlib import sha256
from time import ticks_add, ticks_diff

from micropython import const

import slot

from .node.files import exists
from .node.publishing import publish

try:
    import archive
except ImportError:  # slot.mpy is older, and nothing replaces it over the air
    archive = None

_MAC = const(8)  # bytes of authentication at the start of a chunk
_HEAD = const(14)  # bytes before the data of a chunk
_RETRY = const(5000)  # ms without a chunk after which the request is repeated
_MAX_REQUESTS = const(24)  # requests without a response before the download fails
_MAX_DURATION = const(3600000)  # ms
_MAX_FILES = const(250)
_MAX_FILE_SIZE = const(1 << 20)  # bytes
_MAX_SIZE = const(0xFFFFFE)  # bytes of all files
_IS_FOLDER = const(0xFFFFFF)  # in place of an offset in the index, see archive.py
_MAX_LINE = const(160)  # bytes, maximum length of a line of the manifest
_RESERVE = const(8)  # blocks of flash that stay free
_POINTERS = const(8)  # bytes of a block that littlefs uses itself, on average less than this
_BUFFER = const(256)  # bytes
# boot.py, main.py and these modules are never replaced, because they perform the rollback
_BY_CABLE = ("archive.mpy", "rollback.mpy", "slot.mpy")
_FOLDERS = ("app", "actuators", "sensors", "umqtt5", "umqtt5/optional")
_NAME = "abcdefghijklmnopqrstuvwxyz0123456789_"


class UpdateDownload:
    """The download of a checked `offer`; its state and result are reported to `update`, an Update.

    Raises OSError if flash fails.
    """

    _is_installed = False

    def __init__(self, client, base, offer, update):
        self._client = client
        self._request_topic = base + "/update/request"
        self._chunk_topic = base + "/update/chunk"
        self.offer = offer
        self._update = update
        self._current = slot.read()[0]
        self._folder = "b" if self._current == "a" else "a"
        if not archive:
            raise ValueError("the device has an older slot.mpy: install this version by cable, make deploy")
        self._buffer = bytearray(_BUFFER)
        self._ends_at = None  # ticks
        self._due = None  # ticks of the next request, None: now
        self._has_data = False  # whether a chunk has been stored since the last `run`
        self._requests = 0  # requests since the last chunk
        self._error = None
        self._file = None  # the manifest while it is being received, then the file with all modules
        self._is_receiving = False
        self._number = -1
        self._line = 0  # offset of the next line in the manifest
        self._index = b""  # records of the modules that were verified, see archive.py
        self._offset = 0  # of the next module
        self._step = None  # what `run` does if no file is being received
        try:
            update.record_rolled_back()
            _clear(self._folder)
        except OSError:  # flash may be full
            _clear(self._folder)
            update.record_rolled_back()
        os.mkdir(self._folder)
        self._file = open(self._folder + "/manifest", "wb")
        self._request(0, offer["size"], offer["sha256"])
        client.subscribe(self._chunk_topic, self._on_chunk, qos=1, retain_handling=2)
        update.set_state("receiving", offered=offer["version"], offer=offer["tag"])

    def run(self, now):
        """Request missing data, or copy or verify a file; returns the time in ms until the next call."""
        if self._ends_at is None:
            self._ends_at = ticks_add(now, _MAX_DURATION)
        if not self._error and ticks_diff(self._ends_at, now) <= 0:
            self._error = "not complete after 1 h"
        if not self._error and not self._is_receiving:
            try:
                self._step()
            except (OSError, ValueError, MemoryError) as error:
                self._error = error
        if self._error:
            self._end(self._error)
        elif self._is_installed:
            self._client.unsubscribe(self._chunk_topic)
            self._update.download_ended(self.offer["tag"])
        return self._request_if_due(now) if self._is_receiving else 0

    def _request_if_due(self, now):
        if self._has_data:
            self._has_data = False
            self._due = ticks_add(now, _RETRY)
        if self._due is None or ticks_diff(self._due, now) <= 0:
            if self._requests >= _MAX_REQUESTS:
                self._end("no data received for 2 minutes")
                return 0
            request = json.dumps([self._number, self._at, self.offer["tag"]])
            if publish(self._client, self._request_topic, request, qos=1):
                self._requests += 1
            self._due = ticks_add(now, _RETRY)
        return max(1, ticks_diff(self._due, now))

    def _request(self, number, size, digest):
        """Start to receive a file, which is appended to the open one."""
        self._number = number
        self._size = size
        self._digest = digest
        self._at = 0
        self._sum = sha256()
        self._is_receiving = True
        self._due = None
        self._has_data = False
        self._requests = 0

    def _on_chunk(self, message):
        """Store a chunk. Errors are reported by `run`; the message is acknowledged in any case."""
        if message.retain or self._error or not self._is_receiving or len(message) <= _HEAD:
            return
        try:
            self._store(message.payload)
        except (OSError, ValueError, MemoryError) as error:
            self._error = error

    def _store(self, data):
        at = int.from_bytes(data[_MAC + 2 : _HEAD], "big")
        if int.from_bytes(data[_MAC : _MAC + 2], "big") != self._number or at != self._at:
            return  # a duplicate, or a chunk that follows a lost one; `run` requests the lost one again
        data = memoryview(data)
        if not self._is_authentic(data):
            return
        data = data[_HEAD:]
        if at + len(data) > self._size:
            raise ValueError("file %d is longer than %d bytes" % (self._number, self._size))
        self._file.write(data)
        self._sum.update(data)
        self._at += len(data)
        self._requests = 0
        self._has_data = True
        if self._at == self._size:
            self._finish_file()

    def _is_authentic(self, data):
        """Return True if a chunk (memoryview) was made with the key of this device for this offer."""
        inner = sha256(self.offer["inner"])
        inner.update(data[_MAC:])
        outer = sha256(self.offer["outer"])
        outer.update(inner.digest())
        expected = outer.digest()
        difference = 0
        for i in range(_MAC):
            difference |= expected[i] ^ data[i]
        return not difference

    def _finish_file(self):
        self._is_receiving = False
        if _hex(self._sum) != self._digest:
            raise ValueError("file %d has the wrong SHA-256" % self._number)
        if not self._number:
            self._close_file()
            self._step = self._check_manifest

    def _close_file(self):
        file, self._file = self._file, None
        if file:
            file.close()

    def _check_manifest(self):
        """Check all lines of the manifest, and that its files fit into flash. Raises ValueError."""
        number = total = 0
        previous = ""
        with open(self._folder + "/manifest", "rb") as manifest:
            for size, _, path in _read_lines(manifest):
                number += 1
                if path <= previous:
                    raise ValueError("line %d of the manifest: %s is not in ascending order" % (number, path))
                previous = path
                total += size
        if not number:
            raise ValueError("the manifest is empty")
        if total > _MAX_SIZE:
            raise ValueError("files of %d bytes, expected at most %d" % (total, _MAX_SIZE))
        self._total = total
        self._step = self._check_room

    def _check_room(self):
        """Check that the files fit into flash; if not, remove a file of the version installed by cable.

        Raises ValueError if that is not possible.
        """
        _, block, _, _, free = os.statvfs(".")[:5]
        needed = self._total // (block - _POINTERS) + 2 + _RESERVE  # 2: the last block, and `index`
        # a part of that version is useless: the removal continues to its end, also after a power cut
        if self._current != "." and (needed > free or exists("base_removed")) and _remove_base():
            return
        if needed > free:
            raise ValueError(
                "the update needs %d bytes of flash, %d are free" % (needed * block, free * block)
            )
        self._file = open(self._folder + "/files", "wb")
        self._number = 0
        self._step = self._copy_or_request

    def _copy_or_request(self):
        """Copy the next file of the manifest, or start to download it if the device does not have it."""
        line = self._read_line()
        if not line:
            self._close_file()
            self._line = self._number = 0
            self._step = self._verify
            return
        number = self._number + 1
        size, digest, path = _parse_line(line, number)
        if self._copy(path, size, digest):
            self._number = number
        else:
            self._request(number, size, digest)

    def _read_line(self):
        """Return the next line of the manifest."""
        with open(self._folder + "/manifest", "rb") as manifest:
            manifest.seek(self._line)
            line = manifest.readline(_MAX_LINE)
        self._line += len(line)
        return line

    def _copy(self, path, size, digest):
        """Copy the file from the running or the cable-installed version; returns False if neither has it."""
        sources = ("", archive.MOUNT_POINT + "/") if self._current != "." else ("",)
        for source in sources:
            try:
                if self._read(source + path, size) != digest:
                    continue
            except OSError:
                continue
            if self._read(source + path, size, 0, self._file) != digest:
                raise ValueError("%s was changed on flash" % path)
            return True
        return False

    def _read(self, path, size, offset=0, target=None):
        """Return the SHA-256 of `size` bytes of a file in hexadecimal; copies them to `target`, if not None.

        A file that is shorter has another SHA-256.
        """
        sum = sha256()
        buffer = memoryview(self._buffer)
        with open(path, "rb") as file:
            file.seek(offset, 1)  # the first byte of a module in an archive is not at 0
            while size > 0:
                n = file.readinto(buffer[: min(size, _BUFFER)])
                if not n:
                    break
                size -= n
                sum.update(buffer[:n])
                if target:
                    target.write(buffer[:n])
        return "" if size else _hex(sum)

    def _verify(self):
        """Read the next file of the manifest again; install the version if there is none."""
        if not self._number and self._read_manifest() != self.offer["sha256"]:
            raise ValueError("the manifest was changed on flash")
        line = self._read_line()
        if not line:
            self._install()
            return
        self._number += 1
        size, digest, path = _parse_line(line, self._number)
        if self._read(self._folder + "/files", size, self._offset) != digest:
            raise ValueError("%s was changed on flash" % path)
        end = path.find("/")
        while end > 0:
            self._add_to_index(path[:end], _IS_FOLDER)
            end = path.find("/", end + 1)
        self._add_to_index(path, self._offset)
        self._offset += size

    def _add_to_index(self, path, offset):
        record = crc32(path.encode()).to_bytes(4, "big") + offset.to_bytes(3, "big")
        at = archive.find(self._index, path)
        if at < 0:
            self._index += record
        elif self._index[at : at + len(record)] != record:  # not the folder of the previous file
            raise ValueError("%s has the same CRC-32 as another file: rename it" % path)

    def _read_manifest(self):
        return self._read(self._folder + "/manifest", self.offer["size"])

    def _install(self):
        """Write the index and the version number, and switch the slot."""
        version = self.offer["version"]
        with open(self._folder + "/index", "wb") as file:
            file.write(self._index)
        with open(self._folder + "/version", "w") as file:
            file.write("%d\n" % version)
        with open(self._folder + "/index", "rb") as file:
            is_equal = file.read() == self._index
        if not is_equal or slot.read_version(self._folder) != version:
            raise ValueError("the index or the version number was changed on flash")
        os.remove(self._folder + "/manifest")  # nothing needs it any more
        slot.write(self._folder, self._current, 0)
        self._is_installed = True

    def close(self):
        """Cancel the download and delete its files. Raises OSError."""
        self._close_file()
        _clear(self._folder)

    def _end(self, error):
        self._client.unsubscribe(self._chunk_topic)
        try:
            self.close()
        except OSError as another:
            print("update: %s" % another)
        self._update.download_ended(self.offer["tag"], error)


def _read_lines(manifest):
    """Yield the parsed lines of the manifest. Raises ValueError."""
    number = 0
    while True:
        line = manifest.readline(_MAX_LINE)
        if not line:
            return
        number += 1
        yield _parse_line(line, number)


def _parse_line(line, number):
    """Return (size, SHA-256, path) of a line of the manifest. Raises ValueError."""
    if number > _MAX_FILES:
        raise ValueError("more than %d files" % _MAX_FILES)
    try:
        word, digest, path = str(line, "utf-8").split(" ")
        size = int(word) if word.isdigit() and len(word) < 8 else 0
    except ValueError:
        path = ""
    if path[-1:] != "\n":
        raise ValueError("line %d of the manifest: expected size, SHA-256 and path" % number)
    path = path[:-1]
    folder, _, name = path.rpartition("/")
    allowed = path[-4:] == ".mpy" and (folder in _FOLDERS or not folder and "/" not in path)
    allowed = allowed and 4 < len(name) < 40 and not [c for c in name[:-4] if c not in _NAME]
    if not allowed or path in _BY_CABLE or not 0 < size <= _MAX_FILE_SIZE:
        raise ValueError("line %d of the manifest: %s is not allowed in an update" % (number, path))
    return size, digest, path


def _hex(sum):
    return "".join(["%02x" % c for c in sum.digest()])


def _clear(folder):
    """Remove a folder and its contents, if it exists. Raises OSError."""
    try:
        names = os.listdir(folder)
    except OSError:
        try:
            os.remove(folder)  # a file with the name of the folder
        except OSError:
            pass
        return
    for name in names:
        path = folder + "/" + name
        if os.stat(path)[0] & 0x4000:
            _clear(path)
        else:
            os.remove(path)
    os.rmdir(folder)


def _remove_base():
    """Remove the next file of the version that was installed by cable; returns False if there is none.

    The modules of the board, which are few, remain. Raises OSError.
    """
    for folder in ("app", "actuators", "sensors", "umqtt5/optional", "umqtt5"):
        try:
            names = [name for name in os.listdir(folder) if name[-4:] == ".mpy"]
        except OSError:  # this folder was removed already
            continue
        if names:
            if not exists("base_removed"):
                with open("base_removed", "w"):  # `slot` does not select this version any more
                    pass
            os.remove(folder + "/" + names[0])
            return True
        try:
            os.rmdir(folder)
        except OSError:  # it contains other files
            pass
    return False
