"""The QoS 2 messages that have arrived and are not released yet: their packet identifiers.

As long as one is here its message is not delivered again [MQTT-4.3.3-10].
"""

from array import array


class Inbox:
    """Room for `slots` identifiers."""

    def __init__(self, slots):
        self._ids = array("H", [0] * slots)

    def holds(self, packet_id):
        """True where this one is here. 0 asks for room."""
        for held in self._ids:
            if held == packet_id:
                return True
        return False

    def swap(self, old, new):
        """Put `new` where `old` is: 0 stands for room."""
        for i in range(len(self._ids)):
            if self._ids[i] == old:
                self._ids[i] = new
                return

    def clear(self):
        """A new session knows of none."""
        for i in range(len(self._ids)):
            self._ids[i] = 0
