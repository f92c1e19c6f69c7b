"""Manual acknowledgement (`ack="manual"`) and deferred acknowledgement (`overflow="wait"`, asyncio).

    def pump(message, token):
        jobs.append((message.payload, token))

    client.subscribe("pump/set", pump, qos=2, ack="manual")
    ...
    client.ack(token)

The broker sends at most `inflight` unacknowledged messages of QoS 1 and 2 (Receive Maximum). Acknowledgements
are sent in the order of the messages [MQTT-4.6.0-2], so a deferred acknowledgement delays all later ones. The
amount of memory is fixed.
"""

from array import array

from micropython import const

from ..core.errors import MQTTError
from ..core.inbound import replace_received_id
from ..core.states import CONNECTED, TICKS_MASK, TX_RESERVE

_MIN_CAPACITY = const(32)  # mosquitto 2.0 ignores Receive Maximum and sends about 20 messages


class DeferredAcks:
    """The deferred acknowledgements of a client, in a ring buffer.

    Messages are numbered, and the token of a message is its number. A token below `_first` belongs to an
    acknowledged message or to an earlier connection, and is ignored.
    """

    def __init__(self, client):
        sync_client = getattr(client, "sync_client", client)  # `client` may be an asyncio client
        session = sync_client.session
        self.capacity = max(_MIN_CAPACITY, session.receive_maximum)
        self._client = client
        self._session = session
        self._ids = array("H", [0] * self.capacity)
        self._kinds = bytearray(self.capacity)
        self._reasons = bytearray(self.capacity)
        self._holders = bytearray(self.capacity)  # number of handlers that defer each acknowledgement
        self._first = self._next = 0  # tokens of the oldest stored acknowledgement and of the current message
        self._ack = session.ack
        session.ack = self.ack
        sync_client._poll_hooks.append(self._poll)

    def defer(self):
        """Defer the acknowledgement of the message that is being handled; return its token."""
        self._holders[self._next % self.capacity] += 1
        return self._next

    def release(self, token):
        """End one deferral of the acknowledgement with this token.

        The acknowledgement is sent when no handler defers it any more and all earlier ones are sent.
        """
        if token >= self._first:
            self._holders[token % self.capacity] -= 1
            self._flush()

    def ack(self, first_byte, packet_id, reason):
        """Send an acknowledgement. If it or an earlier one is deferred, store it instead.

        This method replaces `Session.ack`.
        """
        i = self._next % self.capacity
        if first_byte > 0x50 or (self._first == self._next and not self._holders[i]):
            self._ack(first_byte, packet_id, reason)
            return
        self._ids[i] = packet_id
        self._kinds[i] = first_byte
        self._reasons[i] = reason
        self._next += 1
        if self._next - self._first == self.capacity:
            self._session.error = MQTTError(0x93, "%d unacknowledged messages" % self.capacity)
            self._session.close(0x93)
            return
        self._holders[self._next % self.capacity] = 0

    def handle_connected(self):
        """Drop all acknowledgements, because they belong to the previous connection."""
        for messages in self._client.iterators:
            if self._session.resumed:
                messages.drop_unacked()
            else:
                messages.forget_tokens()
        self._next += 1  # a handler that ended the connection may have taken this token
        self._first = self._next
        self._holders[self._next % self.capacity] = 0

    def _flush(self):
        session = self._session
        while self._first < self._next and session._tx_end + TX_RESERVE <= len(session.tx):
            i = self._first % self.capacity
            if self._holders[i]:
                return
            self._ack(self._kinds[i], self._ids[i], self._reasons[i])
            self._first += 1

    def _poll(self, now):
        """Poll hook of the client: send acknowledgements that had no room in `tx`."""
        if self._first < self._next and self._session.state == CONNECTED:
            self._flush()
            if self._session.has_output():
                getattr(self._client, "sync_client", self._client)._flush_now()
        return TICKS_MASK


class ManualAcks(DeferredAcks):
    """Acknowledgements that the user sends with `client.ack(token)`. A token is valid for one connection."""

    def __init__(self, client):
        super().__init__(client)
        client.deferred_acks = self
        client.ack = self.acknowledge
        client._disconnect_hooks.append(self._on_link_lost)

    def acknowledge(self, token):
        """Acknowledge a message.

        Returns False if the token is invalid: the message is already acknowledged, or its connection has
        ended. In the second case the broker sends the message again.
        """
        with self._session:
            if not self._first <= token <= self._next or not self._holders[token % self.capacity]:
                return False
            self.release(token)
            if self._session.has_output():
                self._client._flush_now()
            return True

    def ack(self, first_byte, packet_id, reason):
        if reason:
            self._holders[self._next % self.capacity] = 0  # the handler has failed, so its token is void
        DeferredAcks.ack(self, first_byte, packet_id, reason)

    def _on_link_lost(self, client, uptime_ms):
        """Drop the stored acknowledgements, because the broker sends the messages again."""
        while self._first < self._next:
            i = self._first % self.capacity
            if self._holders[i] and self._kinds[i] == 0x50:
                replace_received_id(self._session, self._ids[i], 0)
            self._first += 1
        self._first = self._next = self._next + 1
        self._holders[self._next % self.capacity] = 0


def attach(client, handler, mode):
    """Return a handler that calls `handler(message, token)`; the token is -1 at QoS 0.

    Raises ValueError unless `mode` is "manual".
    """
    if mode != "manual":
        raise ValueError('ack must be "manual" or None')
    acks = getattr(client, "deferred_acks", None) or ManualAcks(client)
    return lambda message: handler(message, acks.defer() if message.qos else -1)
