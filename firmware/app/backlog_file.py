"""Backlog on flash: a backlog of sensor readings that survives a restart.

The readings are in RAM and in a file. The file is written once a minute and by `save`, so a power cut loses
at most the last minute. Readings that were sent shortly before a power cut may be sent again. The file takes
24 bytes per reading and holds at most twice as many readings as the backlog. The file is removed when all
readings have been acknowledged.
"""

import os
from binascii import crc32
from time import ticks_add, ticks_diff

from micropython import const

from .backlog import Backlog

_RECORD = const(20)  # bytes, as in `backlog`
_CHECKSUM = const(4)  # bytes after each record
_SAVE = const(60000)  # ms after which a reading is written to the file
_NEW = ".new"  # suffix of a new file that will replace the old one


class FileBacklog(Backlog):
    """A backlog in RAM with a copy in the file `path`."""

    _add_in_ram = Backlog.add
    _run = Backlog.run
    _on_ack = Backlog.on_ack

    def __init__(self, client, base, topics, size, policy, now, path):
        super().__init__(client, base, topics, size, policy, now)
        self._path = path
        self._file_count = 0  # records in the file
        self._write_due = None
        # the file begins with a checksum of the topics, because the records contain only numbers of topics
        self._mark = crc32(b"\n".join([topic.name for topic in topics])).to_bytes(4, "big")
        self._load()

    def add(self, number, text, now):
        """Store a reading; it is written to the file within a minute."""
        added = self._add_in_ram(number, text, now)
        if added and self._write_due is None:
            self._write_due = ticks_add(now, _SAVE)
        return added

    def run(self, now):
        """Write the file and send the next message when due; returns the time in ms until the next call."""
        if self._write_due is not None and ticks_diff(self._write_due, now) <= 0:
            self.save()
        return self._run(now)

    def on_ack(self, packet_id):
        """Remove the readings of an acknowledged message; remove the file if none are left."""
        self._on_ack(packet_id)
        if not self.count and self._file_count:
            self._rewrite()

    def save(self):
        """Write the readings that are not in the file yet."""
        self._write_due = None
        if self._file_count + self.count - self._saved_count > 2 * self.size:
            self._rewrite()
            return
        try:
            with open(self._path, "ab") as file:
                if not self._file_count:
                    file.write(self._mark)
                self._append(file, self._saved_count)
        except (OSError, MemoryError) as error:
            self._report(error)

    def _append(self, file, first):
        for i in range(first, self.count):
            record = bytes(self._records[i * _RECORD : (i + 1) * _RECORD])
            file.write(record + (crc32(record) & 0xFFFFFFFF).to_bytes(_CHECKSUM, "big"))
            self._file_count += 1
        self._saved_count = self.count

    def _rewrite(self):
        """Replace the file with one that contains only the current readings; remove it if there are none."""
        self._file_count = 0
        try:
            if not self.count:
                self._saved_count = 0
                _remove(self._path)
                return
            with open(self._path + _NEW, "wb") as file:
                file.write(self._mark)
                self._append(file, 0)
            _remove(self._path)  # FAT does not rename over a file
            os.rename(self._path + _NEW, self._path)
        except (OSError, MemoryError) as error:
            self._report(error)

    def _report(self, error):
        from .flash_error import report

        report(self._path, error, "unsent readings are lost at a restart")

    def _load(self):
        """Load the readings stored before the restart, unless the sensors in the config have changed."""
        is_whole = False
        for path in (self._path, self._path + _NEW):  # a power cut before the rename leaves only the new file
            try:
                with open(path, "rb") as file:
                    is_whole = file.read(4) == self._mark and self._read(file) and path == self._path
                break
            except (OSError, MemoryError):
                pass
        else:
            return
        self._saved_count = self.count
        if not (is_whole and self._file_count):  # a record after an incomplete one could not be read
            self._rewrite()

    def _read(self, file):
        """Read the records; returns False if the last one is incomplete."""
        data = file.read(_RECORD + _CHECKSUM)
        while len(data) == _RECORD + _CHECKSUM:
            self._file_count += 1
            record = data[:_RECORD]
            if crc32(record) & 0xFFFFFFFF == int.from_bytes(data[_RECORD:], "big"):
                self._restore(record)
            data = file.read(_RECORD + _CHECKSUM)
        return not data


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
