"""Publishes a Home Assistant discovery message from a file; the module is unloaded afterwards."""

import os

from umqtt5 import MQTTError, streaming_send

from .discovery_files import PENDING_FILE, SENT_FILE, read_topic, replace_file


class DiscoveryPublisher:
    """One message that is being published.

    `topic` is the topic of the discovery message; if it is None, an earlier message is removed. `packet_id`
    is the packet identifier: 0 if the outbox is full, None if there is nothing to publish.
    """

    def __init__(self, client, topic):
        self._client = client
        self._file = None
        self.packet_id = None
        for self._path in (SENT_FILE, PENDING_FILE):
            before = read_topic(self._path)
            if before and before != topic:  # the device was renamed, or discovery was disabled
                self.packet_id = client.publish(before, b"", qos=1, retain=True)
                return
        if topic:
            self._path = PENDING_FILE if before else SENT_FILE
            self._file = open(self._path, "rb")
            size = os.stat(self._path)[6] - len(self._file.readline())
            self.packet_id = streaming_send.send(client, topic, self._file, size, qos=1, retain=True)

    def on_ack(self, reason):
        """Update the files after the acknowledgement; returns True if another message has to be published.

        Raises MQTTError if the broker rejected the message.
        """
        if reason >= 0x80:
            raise MQTTError(reason)
        if not self._file:
            os.remove(self._path)
            return True
        self.close()
        if self._path == PENDING_FILE:
            replace_file(PENDING_FILE, SENT_FILE)
            self._remove_retained()
        return False

    def _remove_retained(self):
        """Remove the retained states, readings and errors of the entities that no longer exist."""
        base = ""
        kept: list = []
        gone: list = []
        with open(SENT_FILE) as file:
            file.readline()
            for line in file:
                key = line.split('"', 2)[1] if line[0] in '",' else ""
                path = key[7:] if key.startswith("binary_") else key  # topic below the base
                (kept if "uniq_id" in line else gone).append(path)
                if key == "sensor/health/uptime":
                    base = line.split('"~":"')[1].split('health"')[0]
        if not base or "\\" in base:
            return
        for path in gone:
            if path and path not in kept:
                self._client.publish(base + path, b"", retain=True)
                sensor = "/".join(path.split("/")[:2])
                if sensor[:7] == "sensor/" and not [
                    one for one in kept if (one + "/").startswith(sensor + "/")
                ]:
                    self._client.publish(base + sensor + "/error", b"", retain=True)

    def close(self):
        """Close the file."""
        if self._file:
            self._file.close()
