"""Readings that could not be told: kept with their time, and told later, behind the live ones.

`<base>/backlog` gets them at QoS 1, several in a message, the oldest first:

    [["cellar/temperature", 1798000000, "8.5"], ...]

name of the sensor and of the quantity, seconds since 1970 or null where the clock was never set,
value as it would have been published. They are let go when the broker has acknowledged them.

What gives way where there is no room is the policy: `oldest` the oldest one; `thin` every second of
each quantity, so that half as many tell of the whole time; `newest` all but the last of each quantity.
"""

import json
import os
from binascii import crc32
from time import ticks_add, ticks_diff

from micropython import const

from umqtt5 import MQTTError

from .stamp import seconds

_RECORD = const(20)  # bytes: time 4, number of the quantity 1, length of the value 1, value 14
_VALUE = const(14)
_SUM = const(4)  # bytes of the checksum behind a record in the file
_PAUSE = const(1000)  # ms between two messages
_SAVE = const(60000)  # ms that a reading may wait to be written to flash
_ROOM = const(400)  # bytes of a message
_NEW = ".new"  # of a file that takes the place of another
_RUNNING = const(0x40000000)  # times below are seconds of this run, of a device whose clock was not set
_NOBODY_KNOWS = const(0xFFFFFFFF)  # and these of an earlier one


class Backlog:
    """`topics` are those of all quantities, by number; `keep`: how many readings, 20 bytes each.

    With `path` they are kept on flash, too: written once a minute and by `save`, so that a power cut
    loses the last minute of them, and not the readings of a day. What has been told may then be told again.
    """

    def __init__(self, client, base, topics, keep, policy, now, path=None):
        self._client = client
        self._topic = client.topic(base + "/backlog")
        self._skip = len(base) + len("/sensor/")
        self._topics = topics
        self._keep = keep
        self._policy = policy
        self._records = bytearray(keep * _RECORD)
        self._count = 0
        self.lost = 0  # readings that gave way
        self._began = now
        self._due = now
        self._sending = 0  # packet identifier of the message under way, and how many are in it
        self._sent = 0
        self._path = path
        self._written = 0  # how many records of ours are in the file
        self._size = 0  # records in the file
        self._write_due = None
        if path:
            self._mark = crc32(b"\n".join([topic.name for topic in topics])).to_bytes(4, "big")
            self._load()

    def __len__(self):
        return self._count

    # ---- a reading

    def keep(self, number, text, now):
        """A reading of this quantity that could not be told. Returns False for one that is too long."""
        value = text.encode()
        if len(value) > _VALUE:
            return False
        if self._policy == "newest":
            self._forget(number)
        if self._count == self._keep:
            self._make_room(number)
        when = seconds() or ticks_diff(now, self._began) // 1000
        at = self._count * _RECORD
        self._records[at : at + 4] = when.to_bytes(4, "big")
        self._records[at + 4] = number
        self._records[at + 5] = len(value)
        self._records[at + 6 : at + 6 + len(value)] = value
        self._count += 1
        if self._path and self._write_due is None:
            self._write_due = ticks_add(now, _SAVE)
        return True

    def _forget(self, number):
        """The reading of this quantity that is waiting."""
        for i in range(self._sent, self._count):
            if self._records[i * _RECORD + 4] == number:
                self._remove(i)
                return

    def _make_room(self, number):
        if self._policy == "thin":
            self._thin()
        if self._count == self._keep:
            if self._sent < self._count:
                self._remove(self._sent)
            else:  # all are under way: the outbox has them
                self._sent -= 1
                self._drop(0, 1)

    def _thin(self):
        """Every second one of each quantity goes."""
        odd = bytearray(len(self._topics))
        i = self._sent
        while i < self._count:
            number = self._records[i * _RECORD + 4]
            odd[number] ^= 1
            if odd[number]:
                i += 1
            else:
                self._remove(i)

    def _remove(self, i):
        self._drop(i, 1)
        self.lost += 1

    def _drop(self, i, n):
        """Take `n` of them out."""
        end = self._count * _RECORD
        records = self._records
        at = i * _RECORD
        rest = end - at - n * _RECORD
        records[at : at + rest] = records[at + n * _RECORD : end]
        self._count -= n
        self._written = max(0, self._written - n) if i < self._written else self._written

    # ---- telling

    def run(self, now):
        """Tell what there is to tell; returns the ms until there is more to do."""
        if self._write_due is not None and ticks_diff(self._write_due, now) <= 0:
            self.save()
        if not self._count or self._sending or not self._client.connected:
            return _PAUSE
        left = ticks_diff(self._due, now)
        # live readings first, and all that waits with them
        if left > 0 or self._client.session.outbox.count:
            return max(left, 50)
        self._tell(now)
        return _PAUSE

    def _tell(self, now):
        readings = []
        size = 2
        while len(readings) < self._count:
            reading = self._reading(len(readings), now)
            size += len(json.dumps(reading)) + 2
            if readings and size > _ROOM:
                break
            readings.append(reading)
        self._due = ticks_add(now, _PAUSE)
        try:
            packet_id = self._client.publish(self._topic, json.dumps(readings), qos=1)
        except MQTTError as error:  # a broker that takes no QoS 1, or only short messages
            print("backlog: %s" % error)
            self.lost += len(readings)
            self._drop(0, len(readings))
            return
        if packet_id:
            self._sending, self._sent = packet_id, len(readings)

    def _reading(self, i, now):
        at = i * _RECORD
        when = int.from_bytes(self._records[at : at + 4], "big")
        if when < _RUNNING:
            clock = seconds()
            since = ticks_diff(now, self._began) // 1000 - when
            when = clock - since if clock else None
        elif when == _NOBODY_KNOWS:
            when = None
        number, length = self._records[at + 4], self._records[at + 5]
        name = self._topics[number].name[self._skip :].decode()
        return [name, when, bytes(self._records[at + 6 : at + 6 + length]).decode()]

    def acknowledged(self, packet_id):
        """The broker has this message."""
        if packet_id != self._sending:
            return
        self._drop(0, self._sent)
        self._sending = self._sent = 0
        if not self._count and self._path and self._size:
            self._rewrite()

    # ---- on flash

    def save(self):
        """Write down what is not written yet."""
        self._write_due = None
        if not self._path:
            return
        if self._size + self._count - self._written > 2 * self._keep:
            self._rewrite()
            return
        try:
            with open(self._path, "ab") as file:
                if not self._size:
                    file.write(self._mark)
                self._append(file, self._written)
        except OSError as error:
            print("%s: %s: the last readings are known until the next restart only" % (self._path, error))

    def _append(self, file, first):
        for i in range(first, self._count):
            record = self._records[i * _RECORD : (i + 1) * _RECORD]
            file.write(record + (crc32(record) & 0xFFFFFFFF).to_bytes(_SUM, "big"))
            self._size += 1
        self._written = self._count

    def _rewrite(self):
        """What is kept, and nothing else, in a new file that takes the place of the old."""
        self._size = 0
        try:
            if not self._count:
                self._written = 0
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
        self._written = self._count
        if not (whole and self._size):  # behind a torn record nothing could be read again
            self._rewrite()

    def _take(self, file):
        """Read the records; returns False where the end is torn."""
        data = file.read(_RECORD + _SUM)
        while len(data) == _RECORD + _SUM:
            self._size += 1
            record = data[:_RECORD]
            good = crc32(record) & 0xFFFFFFFF == int.from_bytes(data[_RECORD:], "big")
            if good and record[4] < len(self._topics) and record[5] <= _VALUE:
                if int.from_bytes(record[:4], "big") < _RUNNING:
                    record = _NOBODY_KNOWS.to_bytes(4, "big") + record[4:]
                if self._count == self._keep:
                    self._make_room(record[4])
                at = self._count * _RECORD
                self._records[at : at + _RECORD] = record
                self._count += 1
            data = file.read(_RECORD + _SUM)
        return not data


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
