"""An announcement on its way to the broker. Loaded for a delivery, and let go."""

import os

from umqtt5 import MQTTError, streaming_send

from .discovery_files import NEW, SENT, replace, topic_in


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
            self._path = NEW if before else SENT
            self._file = open(self._path, "rb")
            size = os.stat(self._path)[6] - len(self._file.readline())
            self.packet = streaming_send.send(client, topic, self._file, size, qos=1, retain=True)

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
