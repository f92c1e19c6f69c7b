"""Acknowledgements of received messages that wait, for room (`overflow="wait"`) or for the user:

    def pump(message, token):
        jobs.append((message.payload, token))

    client.subscribe("pump/set", pump, qos=2, ack="manual")
    ...
    client.ack(token)

While `inflight` of them wait (Receive Maximum), the broker sends no more at QoS 1 and 2.
They go out in the order in which the messages came [MQTT-4.6.0-2], so all wait behind one that
waits. Fixed memory: as many as the broker may have sent without one.
"""

from array import array

from micropython import const

from ..core.errors import MQTTError
from ..core.inbound import replace_received_id

_MASK = const(0x3FFFFFFF)
_ROOM = const(8)  # as `session` keeps for one acknowledgement and a DISCONNECT
_MOST = const(32)  # at least: mosquitto 2.0 sends some 20 whatever Receive Maximum we announce


class DeferredAcks:
    """The acknowledgements of one client that wait, a ring.

    A token is the number of a message, counted from the beginning; what came in an earlier
    connection has a token below `_first`, which nothing is done for.
    """

    def __init__(self, client):
        sync = getattr(client, "sync_client", client)  # `aio` has one
        session = sync.session
        self.capacity = max(_MOST, session.receive_maximum)
        self._client = client
        self._session = session
        self._ids = array("H", [0] * self.capacity)
        self._kinds = bytearray(self.capacity)
        self._reasons = bytearray(self.capacity)
        self._holders = bytearray(self.capacity)  # how many queues have no room for it yet
        self._first = self._next = 0
        # the method of the class; in its place everything comes here
        self._ack = session.ack
        session.ack = self.ack
        sync._poll_hooks.append(self._run)

    def defer(self):
        """Called by a handler: the acknowledgement of this message waits; returns its token."""
        self._holders[self._next % self.capacity] += 1
        return self._next

    def release(self, token):
        """There is room for the message now."""
        if token >= self._first:
            self._holders[token % self.capacity] -= 1
            self._flush()

    def ack(self, first_byte, packet_id, reason):
        """`Session.ack`, whose place it takes."""
        place = self._next % self.capacity
        if first_byte > 0x50 or (self._first == self._next and not self._holders[place]):
            self._ack(first_byte, packet_id, reason)
            return
        self._ids[place] = packet_id
        self._kinds[place] = first_byte
        self._reasons[place] = reason
        self._next += 1
        if self._next - self._first == self.capacity:
            self._session.error = MQTTError(0x93, "%d unacknowledged messages" % self.capacity)
            self._session.close(0x93)
            return
        self._holders[self._next % self.capacity] = 0

    def handle_connected(self):
        """A new connection: no acknowledgement of the old one goes out in it."""
        for messages in self._client.open:
            if self._session.resumed:
                messages.drop_unacked()
            else:
                messages.forget_tokens()
        self._next += 1  # a handler that ended the connection has held what was never noted
        self._first = self._next
        self._holders[self._next % self.capacity] = 0

    def _flush(self):
        session = self._session
        while self._first < self._next and session._tx_end + _ROOM <= len(session.tx):
            place = self._first % self.capacity
            if self._holders[place]:
                return
            self._ack(self._kinds[place], self._ids[place], self._reasons[place])
            self._first += 1

    def _run(self, now):
        """One of the client's chores: what had no room in `tx` goes out when there is some."""
        if self._first < self._next and self._session.state == 2:
            self._flush()
            if self._session.has_output():
                getattr(self._client, "sync_client", self._client)._flush_now()
        return _MASK


class ManualAcks(DeferredAcks):
    """The acknowledgements that the user gives. A token is good for the connection of its message."""

    def __init__(self, client):
        super().__init__(client)
        client.deferred_acks = self
        client.ack = self.acknowledge
        client._disconnect_hooks.append(self._dropped)

    def acknowledge(self, token):
        """The work is done. False where the connection has ended since: the message comes once more."""
        if not self._first <= token <= self._next or not self._holders[token % self.capacity]:
            return False
        self.release(token)
        if self._session.has_output():
            self._client._flush_now()
        return True

    def ack(self, first_byte, packet_id, reason):
        if reason:
            self._holders[self._next % self.capacity] = 0  # its handler has failed, and nobody has the token
        DeferredAcks.ack(self, first_byte, packet_id, reason)

    def _dropped(self, client, uptime_ms):
        """What is not done comes again, and is handled then."""
        while self._first < self._next:
            place = self._first % self.capacity
            if self._holders[place] and self._kinds[place] == 0x50:
                replace_received_id(self._session, self._ids[place], 0)
            self._first += 1
        self._first = self._next = self._next + 1
        self._holders[self._next % self.capacity] = 0


def attach(client, handler, mode):
    """The handler that hands out a token; -1 at QoS 0, where there is nothing to acknowledge."""
    if mode != "manual":
        raise ValueError('ack: "manual" or None')
    acks = getattr(client, "deferred_acks", None) or ManualAcks(client)
    return lambda message: handler(message, acks.defer() if message.qos else -1)
