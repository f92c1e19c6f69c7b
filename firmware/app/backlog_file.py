"""A backlog that outlives a restart: what is kept in RAM is in a file, too.

It is written once a minute and by `save`, so that a power cut loses the last minute, and not the
readings of a day. Those that were told shortly before a cut may be told again. The file takes 24 bytes
a reading, twice as many readings as are kept at most, and is removed when all are told.
"""

import os
from binascii import crc32
from time import ticks_add, ticks_diff

from micropython import const

from .backlog import MAX_VALUE_SIZE, RECORD_SIZE, TIME_UNKNOWN, UPTIME_END, Backlog

_SUM = const(4)  # bytes of the checksum behind a record
_SAVE = const(60000)  # ms that a reading may wait to be written
_NEW = ".new"  # of a file that takes the place of another


class FileBacklog(Backlog):
    """`path` is the file."""

    _add_in_ram = Backlog.add
    _run = Backlog.run
    _acknowledged = Backlog.acknowledged

    def __init__(self, client, base, topics, capacity, policy, now, path):
        super().__init__(client, base, topics, capacity, policy, now)
        self._path = path
        self._size = 0  # records in the file
        self._write_due = None
        self._mark = crc32(b"\n".join([topic.name for topic in topics])).to_bytes(4, "big")
        self._load()

    def add(self, number, text, now):
        kept = self._add_in_ram(number, text, now)
        if kept and self._write_due is None:
            self._write_due = ticks_add(now, _SAVE)
        return kept

    def run(self, now):
        if self._write_due is not None and ticks_diff(self._write_due, now) <= 0:
            self.save()
        return self._run(now)

    def acknowledged(self, packet_id):
        self._acknowledged(packet_id)
        if not self.count and self._size:
            self._rewrite()

    def save(self):
        """Write down what is not written yet."""
        self._write_due = None
        if self._size + self.count - self.saved_count > 2 * self.capacity:
            self._rewrite()
            return
        try:
            with open(self._path, "ab") as file:
                if not self._size:
                    file.write(self._mark)
                self._append(file, self.saved_count)
        except OSError as error:
            print("%s: %s: the last readings are known until the next restart only" % (self._path, error))

    def _append(self, file, first):
        for i in range(first, self.count):
            record = bytes(self.records[i * RECORD_SIZE : (i + 1) * RECORD_SIZE])
            file.write(record + (crc32(record) & 0xFFFFFFFF).to_bytes(_SUM, "big"))
            self._size += 1
        self.saved_count = self.count

    def _rewrite(self):
        """What is kept, and nothing else, in a new file that takes the place of the old."""
        self._size = 0
        try:
            if not self.count:
                self.saved_count = 0
                _remove(self._path)
                return
            with open(self._path + _NEW, "wb") as file:
                file.write(self._mark)
                self._append(file, 0)
            _remove(self._path)  # FAT renames over no file
            os.rename(self._path + _NEW, self._path)
        except OSError as error:
            print("%s: %s" % (self._path, error))

    def _load(self):
        """What an earlier run could not tell; of a config with other sensors nothing."""
        whole = False
        for path in (self._path, self._path + _NEW):  # the new one where a cut came behind the old one's end
            try:
                with open(path, "rb") as file:
                    whole = file.read(4) == self._mark and self._take(file) and path == self._path
                break
            except OSError:
                pass
        else:
            return
        self.saved_count = self.count
        if not (whole and self._size):  # behind a torn record nothing could be read again
            self._rewrite()

    def _take(self, file):
        """Read the records; returns False where the end is torn."""
        data = file.read(RECORD_SIZE + _SUM)
        while len(data) == RECORD_SIZE + _SUM:
            self._size += 1
            record = data[:RECORD_SIZE]
            good = crc32(record) & 0xFFFFFFFF == int.from_bytes(data[RECORD_SIZE:], "big")
            if good and record[4] < len(self.topics) and record[5] <= MAX_VALUE_SIZE:
                if int.from_bytes(record[:4], "big") < UPTIME_END:
                    record = TIME_UNKNOWN.to_bytes(4, "big") + record[4:]
                if self.count == self.capacity:
                    self.make_room(record[4])
                at = self.count * RECORD_SIZE
                self.records[at : at + RECORD_SIZE] = record
                self.count += 1
            data = file.read(RECORD_SIZE + _SUM)
        return not data


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
