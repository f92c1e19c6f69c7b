"""Backlog: stores sensor readings while the device is offline and publishes them after it reconnects.

The readings are published to `<base>/backlog` at QoS 1, several per message, oldest first:

    [["cellar/temperature", 1798000000, "8.5"], ...]

Each reading is a list of the topic after `<base>/sensor/`, the time in seconds since 1970 (null if it is not
known) and the payload of the live message. Readings are removed when the broker has acknowledged them. Live
readings are sent first.

If the backlog is full, the policy determines which readings are dropped: `oldest` drops the oldest reading;
`thin` drops every second reading of each quantity, so that the remaining readings still cover the whole
period offline. The policy `newest` keeps only the newest reading of each quantity.
"""

import json
from time import ticks_add, ticks_diff

from micropython import const

from umqtt5 import MQTTError

from .node.timestamps import unix_time

_RECORD = const(20)  # bytes: time 4, number of the quantity 1, length of the value 1, value 14
_MAX_VALUE = const(14)  # bytes
_UPTIME_END = const(0x40000000)  # a smaller time is in seconds since the start, because the clock was not set
_UNKNOWN = const(0xFFFFFFFF)  # time of a reading from before a restart, if the clock was not set then
_PAUSE = const(1000)  # ms between two messages
_MAX_MESSAGE = const(400)  # bytes


class Backlog:
    """A backlog in RAM, which is lost at a restart; `backlog_file.FileBacklog` also keeps it on flash.

    `topics` is the list of the topics of all quantities; a quantity's number is its index in this list.
    `size` is the maximum number of readings; each takes 20 bytes. `now` is in ticks.
    """

    _saved_count = 0  # number of records at the start of `_records` that are on flash; used by `backlog_file`

    def __init__(self, client, base, topics, size, policy, now):
        self._client = client
        self._topic = client.topic(base + "/backlog")
        self._skip = len(base) + len("/sensor/")
        self.topics = topics
        self.size = size
        self._policy = policy
        self._records = memoryview(bytearray(size * _RECORD))  # slicing a memoryview does not copy
        self.count = 0
        self._dropped = 0  # number of readings dropped because the backlog was full
        self._uptime = 0  # seconds since the start; added up by `run`, because ticks wrap around
        self._counted_at = now  # ticks up to which `_uptime` has been added up
        self._sent_at = None  # ticks of the last message, None if the next one may be sent at once
        self._packet_id = 0  # packet identifier of the unacknowledged message, 0 if there is none
        self._in_flight = 0  # number of readings in the unacknowledged message

    def __len__(self):
        return self.count

    # ---- storing

    def add(self, number, text, now):
        """Store a reading of the quantity `number`. Returns False if `text` is longer than 14 bytes."""
        value = text.encode()
        if len(value) > _MAX_VALUE:
            return False
        if self._policy == "newest":
            self._remove_waiting(number)
        if self.count == self.size:
            self._make_room()
        when = unix_time() or self._uptime_at(now)
        at = self.count * _RECORD
        self._records[at : at + 4] = when.to_bytes(4, "big")
        self._records[at + 4] = number
        self._records[at + 5] = len(value)
        self._records[at + 6 : at + 6 + len(value)] = value
        self.count += 1
        return True

    def _restore(self, record):
        """Store a record that `backlog_file` has read; ignore it if it is invalid."""
        if record[4] >= len(self.topics) or record[5] > _MAX_VALUE:
            return
        if int.from_bytes(record[:4], "big") < _UPTIME_END:
            record = _UNKNOWN.to_bytes(4, "big") + record[4:]
        if self.count == self.size:
            self._make_room()
        at = self.count * _RECORD
        self._records[at : at + _RECORD] = record
        self.count += 1

    def _remove_waiting(self, number):
        """Drop the reading of this quantity that is waiting to be sent, if there is one."""
        for i in range(self._in_flight, self.count):
            if self._records[i * _RECORD + 4] == number:
                self._remove(i)
                return

    def _make_room(self):
        """Drop at least one reading, according to the policy."""
        if self._policy == "thin":
            self._thin()
        if self.count == self.size:
            if self._in_flight < self.count:
                self._remove(self._in_flight)
            else:  # all readings are in flight: none is lost, because the outbox has copies
                self._in_flight -= 1
                self._delete(0, 1)

    def _thin(self):
        """Drop every second reading of each quantity."""
        odd = bytearray(len(self.topics))
        i = self._in_flight
        while i < self.count:
            number = self._records[i * _RECORD + 4]
            odd[number] ^= 1
            if odd[number]:
                i += 1
            else:
                self._remove(i)

    def _remove(self, i):
        self._delete(i, 1)
        self._dropped += 1

    def _delete(self, i, n):
        """Delete `n` records, starting at index `i`."""
        end = self.count * _RECORD
        records = self._records
        at = i * _RECORD
        rest = end - at - n * _RECORD
        records[at : at + rest] = records[at + n * _RECORD : end]
        self.count -= n
        if i < self._saved_count:
            self._saved_count -= min(n, self._saved_count - i)

    def _uptime_at(self, now):
        """Return the seconds since the start. `run` calls this regularly, because ticks wrap around."""
        seconds = ticks_diff(now, self._counted_at) // 1000
        if seconds > 0:
            self._counted_at = ticks_add(self._counted_at, seconds * 1000)
            self._uptime += seconds
        return self._uptime

    # ---- sending

    def run(self, now):
        """Send the next message if it is due; returns the time in ms until the next call."""
        self._uptime_at(now)
        if self._sent_at is not None and ticks_diff(now, self._sent_at) >= _PAUSE:
            self._sent_at = None
        if not self.count or self._packet_id or not self._client.is_connected:
            return _PAUSE
        # live readings and all other messages in the outbox are sent first
        if self._sent_at is not None or self._client.session.outbox.count:
            return 50
        self._send(now)
        return _PAUSE

    def _send(self, now):
        readings: list = []
        size = 2
        while len(readings) < self.count:
            reading = self._reading(len(readings), now)
            size += len(json.dumps(reading)) + 2
            if readings and size > _MAX_MESSAGE:
                break
            readings.append(reading)
        self._sent_at = now
        try:
            packet_id = self._client.publish(self._topic, json.dumps(readings), qos=1)
        except MQTTError as error:  # the broker does not support messages of this size
            print("backlog: %d readings dropped: %s" % (len(readings), error))
            self._dropped += len(readings)
            self._delete(0, len(readings))
            return
        if packet_id:
            self._packet_id, self._in_flight = packet_id, len(readings)

    def _reading(self, i, now):
        at = i * _RECORD
        when = int.from_bytes(self._records[at : at + 4], "big")
        if when < _UPTIME_END:
            clock = unix_time()
            age = self._uptime_at(now) - when
            when = clock - age if clock else None
        elif when == _UNKNOWN:
            when = None
        number, length = self._records[at + 4], self._records[at + 5]
        name = self.topics[number].name[self._skip :].decode()
        return [name, when, bytes(self._records[at + 6 : at + 6 + length]).decode()]

    def on_ack(self, packet_id):
        """Remove the readings of a message that the broker has acknowledged."""
        if packet_id != self._packet_id:
            return
        self._delete(0, self._in_flight)
        self._packet_id = self._in_flight = 0

    def save(self):
        """Save to flash; does nothing for a backlog in RAM."""
