"""Home Assistant is told what this device has, and what it has no more.

It is told at `<prefix>/device/<device>/config`, retained: at the start, where the broker has lost the
session, and when Home Assistant has started. `announced` is the file that the broker has, `announced.new`
the one that it is to have; `announcement` writes it.
"""

import os
import sys
from random import getrandbits
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

SENT = "announced"
NEW = "announced.new"
_IDLE = const(1000)  # ms
_LISTENS = const(5000)  # ms after which Home Assistant has subscribed to what it was told of


def topic_in(path):
    """The topic in the first line of a file, None where there is none."""
    try:
        with open(path) as file:
            return file.readline().strip() or None
    except (OSError, ValueError):
        return None


def replace(path, other):
    """Rename a file over another."""
    try:
        os.rename(path, other)
    except OSError:  # FAT does not overwrite
        os.remove(other)
        os.rename(path, other)


class Discovery:
    """`topic` None withdraws what was announced. `listened(now)` is called when somebody new listens.

    `woken`: from deep sleep, before which it was told, unless there is something new.
    """

    def __init__(self, client, prefix, topic, listened, woken=False):
        self._client = client
        self._topic = topic
        self._listened = listened
        self._due = None if woken and topic and not topic_in(NEW) else ticks_ms()
        self._path = None  # of the file that is told, or withdrawn
        self._file = None
        self._packet = 0  # its packet identifier
        self._listens = None  # ticks
        if topic:
            client.subscribe(prefix + "/status", self._heard, qos=1, retain_handling=2)

    def again(self):
        """The broker has lost the session, perhaps more."""
        self._due = ticks_ms()

    def run(self, now):
        """Announce or withdraw where it is due; returns the ms until it may be."""
        if self._listens is not None and ticks_diff(self._listens, now) <= 0:
            self._listens = None
            self._listened(now)
        if self._due is None or self._packet or not self._client.connected:
            return _IDLE
        wait = ticks_diff(self._due, now)
        if wait > 0:
            return min(wait, _IDLE)
        self._due = None
        try:
            if not self._send():  # no room now
                self._due = ticks_add(now, _IDLE)
        except Exception as error:
            self._over(error)
        return _IDLE

    def acknowledged(self, answer):
        """True where it was of ours."""
        if not self._packet or answer.packet_id != self._packet:
            return False
        try:
            self._arrived(answer.reason)
        except Exception as error:
            self._over(error)
        return True

    def _send(self):
        """False where there is no room now."""
        for self._path in (SENT, NEW):
            topic = topic_in(self._path)
            if topic and topic != self._topic:  # it had another name, or is announced no more
                self._packet = self._client.publish(topic, b"", qos=1, retain=True)
                return self._packet
        if not self._topic:
            return True
        from umqtt5 import outgoing

        if topic_in(NEW) is None:
            self._path = SENT
        size = os.stat(self._path)[6]
        self._file = open(self._path, "rb")
        size -= len(self._file.readline())
        self._packet = outgoing.send(self._client, self._topic, self._file, size, qos=1, retain=True)
        if not self._packet:
            self._file.close()
        return self._packet

    def _arrived(self, reason):
        from umqtt5 import MQTTError

        if reason >= 0x80:
            raise MQTTError(reason)
        withdrawn = self._file is None
        self._over()
        if withdrawn:
            os.remove(self._path)
            self._due = ticks_ms()
            return
        if self._path == NEW:
            replace(NEW, SENT)
        self._listens = ticks_add(ticks_ms(), _LISTENS)

    def _over(self, error=None):
        """The device goes on, also where it has failed; it is tried again when it is due again."""
        self._packet = 0
        if self._file:
            self._file.close()
            self._file = None
        if sys.modules.pop("umqtt5.outgoing", None):
            del sys.modules["umqtt5"].outgoing
        if error:
            print("discovery: %s: %s" % (type(error).__name__, error))

    def _heard(self, message):
        """Home Assistant has started. All devices hear it at once, so each waits a while of its own."""
        if not message.retain and message.equals(b"online"):
            self._due = ticks_add(ticks_ms(), getrandbits(12))
