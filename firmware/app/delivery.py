"""An announcement on its way to the broker: from a file, which is known to have arrived by its name.

`announced` is what the broker has, `announced.new` what it is to have. Loaded for a delivery, and let go.
"""

import os

from umqtt5 import MQTTError, outgoing

SENT = "announced"
NEW = "announced.new"


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


class Delivery:
    """`topic` None withdraws what was announced. `packet` is its packet identifier: 0 where there is no
    room now, None where there is nothing to do.
    """

    def __init__(self, client, topic):
        self._file = None
        self.packet = None
        for self._path in (SENT, NEW):
            before = topic_in(self._path)
            if before and before != topic:  # it had another name, or is announced no more
                self.packet = client.publish(before, b"", qos=1, retain=True)
                return
        if topic:
            self._send(client, topic)

    def _send(self, client, topic):
        if topic_in(NEW) is None:
            self._path = SENT
        size = os.stat(self._path)[6]
        self._file = open(self._path, "rb")
        size -= len(self._file.readline())
        self.packet = outgoing.send(client, topic, self._file, size, qos=1, retain=True)

    def arrived(self, reason):
        """Remember it; True where another has to follow. Raises MQTTError where it was refused."""
        if reason >= 0x80:
            raise MQTTError(reason)
        if not self._file:
            os.remove(self._path)
            return True
        self.close()
        if self._path == NEW:
            replace(NEW, SENT)
        return False

    def close(self):
        if self._file:
            self._file.close()
