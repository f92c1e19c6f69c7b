"""Readings that could not be told: kept with their time, and told later, behind the live ones.

`<base>/backlog` gets them at QoS 1, several in a message, the oldest first:

    [["cellar/temperature", 1798000000, "8.5"], ...]

name of the sensor and of the quantity, seconds since 1970 or null where the clock was never set,
value as it would have been published. They are let go when the broker has acknowledged them.

What gives way where there is no room is the policy: `oldest` the oldest one; `thin` every second of
each quantity, so that half as many tell of the whole time; `newest` all but the last of each quantity.
"""

import json
from time import ticks_add, ticks_diff

from micropython import const

from umqtt5 import MQTTError

from .node.timestamps import unix_time

RECORD_SIZE = const(20)  # bytes: time 4, number of the quantity 1, length of the value 1, value 14
MAX_VALUE_SIZE = const(14)
_PAUSE = const(1000)  # ms between two messages
_ROOM = const(400)  # bytes of a message
UPTIME_END = const(0x40000000)  # times below are seconds of this run, of a device whose clock was not set
TIME_UNKNOWN = const(0xFFFFFFFF)  # and these of an earlier one


class Backlog:
    """`topics` are those of all quantities, by number; `capacity`: how many readings, 20 bytes each.

    In RAM: a restart loses them. `saved` has one on flash.
    """

    saved_count = 0  # how many of the first records are on flash, where they go there

    def __init__(self, client, base, topics, capacity, policy, now):
        self._client = client
        self._topic = client.topic(base + "/backlog")
        self._skip = len(base) + len("/sensor/")
        self.topics = topics
        self.capacity = capacity
        self._policy = policy
        self.records = memoryview(bytearray(capacity * RECORD_SIZE))  # whose slices are no copies
        self.count = 0
        self.dropped = 0  # readings that gave way
        self._began = now
        self._due = now
        self._sending = 0  # packet identifier of the message under way, and how many are in it
        self._sent = 0

    def __len__(self):
        return self.count

    # ---- a reading

    def add(self, number, text, now):
        """A reading of this quantity that could not be told. Returns False for one that is too long."""
        value = text.encode()
        if len(value) > MAX_VALUE_SIZE:
            return False
        if self._policy == "newest":
            self._forget(number)
        if self.count == self.capacity:
            self.make_room(number)
        when = unix_time() or ticks_diff(now, self._began) // 1000
        at = self.count * RECORD_SIZE
        self.records[at : at + 4] = when.to_bytes(4, "big")
        self.records[at + 4] = number
        self.records[at + 5] = len(value)
        self.records[at + 6 : at + 6 + len(value)] = value
        self.count += 1
        return True

    def _forget(self, number):
        """The reading of this quantity that is waiting."""
        for i in range(self._sent, self.count):
            if self.records[i * RECORD_SIZE + 4] == number:
                self._remove(i)
                return

    def make_room(self, number):
        if self._policy == "thin":
            self._thin()
        if self.count == self.capacity:
            if self._sent < self.count:
                self._remove(self._sent)
            else:  # all are under way: the outbox has them
                self._sent -= 1
                self._drop(0, 1)

    def _thin(self):
        """Every second one of each quantity goes."""
        odd = bytearray(len(self.topics))
        i = self._sent
        while i < self.count:
            number = self.records[i * RECORD_SIZE + 4]
            odd[number] ^= 1
            if odd[number]:
                i += 1
            else:
                self._remove(i)

    def _remove(self, i):
        self._drop(i, 1)
        self.dropped += 1

    def _drop(self, i, n):
        """Take `n` of them out."""
        end = self.count * RECORD_SIZE
        records = self.records
        at = i * RECORD_SIZE
        rest = end - at - n * RECORD_SIZE
        records[at : at + rest] = records[at + n * RECORD_SIZE : end]
        self.count -= n
        if i < self.saved_count:
            self.saved_count -= min(n, self.saved_count - i)

    # ---- telling

    def run(self, now):
        """Tell what there is to tell; returns the ms until there is more to do."""
        if not self.count or self._sending or not self._client.is_connected:
            return _PAUSE
        left = ticks_diff(self._due, now)
        # live readings first, and all that waits with them
        if left > 0 or self._client.session.outbox.count:
            return max(left, 50)
        self._send(now)
        return _PAUSE

    def _send(self, now):
        readings: list = []
        size = 2
        while len(readings) < self.count:
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
            self.dropped += len(readings)
            self._drop(0, len(readings))
            return
        if packet_id:
            self._sending, self._sent = packet_id, len(readings)

    def _reading(self, i, now):
        at = i * RECORD_SIZE
        when = int.from_bytes(self.records[at : at + 4], "big")
        if when < UPTIME_END:
            clock = unix_time()
            since = ticks_diff(now, self._began) // 1000 - when
            when = clock - since if clock else None
        elif when == TIME_UNKNOWN:
            when = None
        number, length = self.records[at + 4], self.records[at + 5]
        name = self.topics[number].name[self._skip :].decode()
        return [name, when, bytes(self.records[at + 6 : at + 6 + length]).decode()]

    def acknowledged(self, packet_id):
        """The broker has this message."""
        if packet_id != self._sending:
            return
        self._drop(0, self._sent)
        self._sending = self._sent = 0

    def save(self):
        """What a restart would lose goes to flash, where there is a place for it."""
