"""`subscribe(ack="manual")`: a message is acknowledged when its work is done, not when its handler returns.

    def pump(message, token):
        jobs.append((message.payload, token))

    client.subscribe("pump/set", pump, qos=2, ack="manual")
    ...
    client.ack(token)

Acknowledgements go out in the order in which the messages came [MQTT-4.6.0-2]: all wait behind one that
waits. While `inflight` of them wait (Receive Maximum), the broker sends no more at QoS 1 and 2.
"""

from .held import Held


class Manual(Held):
    """The acknowledgements that the user gives. A token is good for the connection of its message."""

    def __init__(self, client):
        super().__init__(client)
        client.held = self
        client.ack = self.acknowledge
        client._drops.append(self._dropped)

    def acknowledge(self, token):
        """The work is done. False where the connection has ended since: the message comes once more."""
        if not self._first <= token <= self._next or not self._holders[token % self.places]:
            return False
        self.release(token)
        if self._session.pending():
            self._client._push()
        return True

    def ack(self, first_byte, packet_id, reason):
        if reason:
            self._holders[self._next % self.places] = 0  # its handler has failed, and nobody has the token
        Held.ack(self, first_byte, packet_id, reason)

    def _dropped(self, client, lived):
        """What is not done comes again, and is handled then."""
        while self._first < self._next:
            place = self._first % self.places
            if self._holders[place] and self._kinds[place] == 0x50:
                self._session._swap(self._ids[place], 0)
            self._first += 1
        self._first = self._next = self._next + 1
        self._holders[self._next % self.places] = 0


def attach(client, handler, how):
    """The handler that hands out a token; -1 at QoS 0, where there is nothing to acknowledge."""
    if how != "manual":
        raise ValueError('ack: "manual" or None')
    held = getattr(client, "held", None) or Manual(client)
    return lambda message: handler(message, held.hold() if message.qos else -1)
