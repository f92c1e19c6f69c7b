"""An announcement on its way to the broker. Loaded for a delivery, and let go."""

import os

from umqtt5 import MQTTError, streaming_send

from .discovery_files import PENDING_FILE, SENT_FILE, read_topic, replace_file


class DiscoveryPublisher:
    """`topic` None withdraws what was announced. `packet_id` is its packet identifier: 0 where there is no
    room now, None where there is nothing to do.
    """

    def __init__(self, client, topic):
        self._file = None
        self.packet_id = None
        for self._path in (SENT_FILE, PENDING_FILE):
            before = read_topic(self._path)
            if before and before != topic:  # it had another name, or is announced no more
                self.packet_id = client.publish(before, b"", qos=1, retain=True)
                return
        if topic:
            self._path = PENDING_FILE if before else SENT_FILE
            self._file = open(self._path, "rb")
            size = os.stat(self._path)[6] - len(self._file.readline())
            self.packet_id = streaming_send.send(client, topic, self._file, size, qos=1, retain=True)

    def on_ack(self, reason):
        """Remember it; True where another has to follow. Raises MQTTError where it was refused."""
        if reason >= 0x80:
            raise MQTTError(reason)
        if not self._file:
            os.remove(self._path)
            return True
        self.close()
        if self._path == PENDING_FILE:
            replace_file(PENDING_FILE, SENT_FILE)
        return False

    def close(self):
        if self._file:
            self._file.close()
