"""Iterator over received messages for `async for`; copies of messages and acknowledgements."""

from asyncio import Event

from micropython import const

from ..core.errors import MQTTError
from ..core.inbound import replace_received_id
from ..core.packet import Packet

_REASON_STRING = 0x1F

WAIT_MESSAGE = const(-3)  # key of a waiter for a change of an iterator


class _Copy:
    """A copy of the properties of a packet."""

    def __init__(self, packet):
        self.properties = bytes(memoryview(packet._buf)[packet.properties_start : packet.properties_end])

    def property(self, identifier, nth=0):
        """Return the `nth` property with this identifier; see `core.packet.Packet.property`."""
        packet = Packet(self.properties)
        packet.properties_end = len(self.properties)
        return packet.property(identifier, nth)


class Ack(_Copy):
    """A copy of the broker's acknowledgement; `reason` is its reason code (section 2.4)."""

    def __init__(self, packet):
        super().__init__(packet)
        self.packet_id = packet.packet_id
        self.reason = packet.reason

    @property
    def detail(self):
        """The broker's Reason String, `""` if there is none."""
        return self.property(_REASON_STRING) or ""


class Message(_Copy):
    """A copy of a message: `topic` (str), `payload` (bytes), `qos`, `retain` and `packet_id` as received."""

    def __init__(self, packet):
        super().__init__(packet)
        self.topic = packet.topic
        self.payload = packet.payload
        self.qos = packet.qos
        self.retain = packet.retain
        self.packet_id = packet.packet_id
        self.token = -1  # token of its deferred acknowledgement, -1 for none; see `optional.manual_ack`

    def equals(self, data):
        """Return True if the payload is equal to `data` (bytes)."""
        return self.payload == data


class MessageIterator:
    """Iterates over the messages of one subscription, across reconnects.

    Up to `queue_size` messages wait in the queue of the iterator. If the queue is full, `overflow` decides
    what happens to a new message:

    - `"oldest"`: the oldest message is dropped. It was acknowledged when it arrived.
    - `"newest"`: the new message is dropped. At QoS 1 and 2 it is acknowledged with 0x80.
    - `"wait"`: a message of QoS 1 or 2 is still queued, but it is acknowledged only when the queue has room
      for it. A new message of QoS 0 is dropped. The broker sends at most `inflight` unacknowledged messages
      (Receive Maximum) and keeps the others. Acknowledgements are sent in the order of arrival
      [MQTT-4.6.0-2], so those of other subscriptions wait too, and after `inflight` messages no message of
      QoS 1 or 2 arrives for any subscription. QoS 0 messages, publishing and keep-alive continue. If a broker
      exceeds Receive Maximum by far, the client disconnects with 0x93.

    `dropped` is the number of dropped messages. `timeout` in ms limits each wait, for SUBACK at the start of
    `async with` and for a message. After it OSError(ETIMEDOUT) is raised, and the iterator can still be used.

    The iterator ends after `client.disconnect()`, `client.unsubscribe()` or `close()`, when it has returned
    the messages that have already arrived. It raises MQTTError if the broker refuses the subscription.
    Leaving the loop does not end the subscription. `async with` waits for SUBACK at its start, and
    unsubscribes at its end:

        async with client.messages("a/+", qos=1, overflow="wait") as messages:
            async for message in messages:

    A second iterator over the same topic filter takes the queue of the first and ends it. If several tasks
    share an iterator, each message goes to one of them.
    """

    def __init__(self, client, topic_filter, qos, queue_size, overflow, timeout, options):
        if overflow not in ("oldest", "newest", "wait") or queue_size < 1:
            raise ValueError('overflow must be "oldest", "newest" or "wait", queue_size 1 or more')
        self._client = client
        self._filter = topic_filter
        self._size = queue_size
        self._overflow = overflow
        self._timeout = timeout
        self._queue: list = []
        self._event = Event()
        self._ended = False
        self._error = None
        self.dropped = 0
        if overflow == "wait" and not client.deferred_acks:
            from ..optional.manual_ack import DeferredAcks

            client.deferred_acks = DeferredAcks(client)
        self.subscription = client.sync_client.subscribe(topic_filter, self._on_message, qos, **options)
        for other in list(client.iterators):
            if other.subscription is self.subscription:
                self._queue = other.detach()
                other._queue = []
        client.iterators.append(self)
        client.wake()

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self._queue:
            if self._error or self._ended:
                raise self._error or StopAsyncIteration
            if self._timeout is None:
                self._client._enter_loop()
                self._event.clear()
                await self._event.wait()
            else:
                await self._wait_until(self._is_ready)
        message = self._queue.pop(0)
        if len(self._queue) >= self._size:
            self._release(self._queue[self._size - 1])
        return message

    async def __aenter__(self):
        good = False
        try:
            # A message proves that the subscription exists, so this loop does not wait for SUBACK any longer:
            # the queue could overflow before SUBACK arrives.
            await self._wait_until(self._is_subscribed)
            if self._error:
                raise self._error
            good = True
        finally:
            if not good:
                self.close()
        return self

    async def __aexit__(self, *error):
        self.close()

    def _is_ready(self):
        return self._queue or self._error or self._ended

    def _is_subscribed(self):
        return self.subscription.reason is not None or self._queue or self._ended

    async def _wait_until(self, condition):
        """Wait until `condition()` is true, at most until the timeout."""
        client = self._client
        client._enter_loop()
        waiters = client._waiters
        waiter = client._add_timeout(self._timeout)
        try:
            while not condition():
                self._event.clear()
                if waiter:
                    waiter.event = self._event
                await self._event.wait()
                if waiter and waiter.error and not condition():
                    raise waiter.error
        finally:
            if waiter:
                waiters.remove(waiter)

    def close(self):
        """Unsubscribe; the iterator ends when it has returned the messages that have already arrived."""
        if not self._ended:
            self.detach()
            if self.subscription.is_wanted:
                self._client.sync_client.unsubscribe(self._filter)
                self._client.wake()

    def detach(self):
        """End the iterator without unsubscribing; return the messages in its queue."""
        self._ended = True
        self._client.iterators.remove(self)
        for message in self._queue:
            self._release(message)
        self._event.set()
        return self._queue

    def handle_suback(self, packet):
        """Handle a SUBACK."""
        self._error = None
        if packet.reason >= 0x80:
            self._error = MQTTError(packet.reason, Ack(packet).detail)
        self._event.set()

    def drop_unacked(self):
        """Drop the unacknowledged messages: the broker sends them again in the resumed session."""
        while self._queue and self._queue[-1].token >= 0:
            message = self._queue.pop()
            if message.qos == 2:  # else the message sent again would count as a duplicate
                replace_received_id(self._client.sync_client.session, message.packet_id, 0)

    def forget_tokens(self):
        """Keep the messages but drop their acknowledgements, because the broker has lost the session."""
        for message in self._queue:
            message.token = -1

    def _release(self, message):
        if message.token >= 0:
            self._client.deferred_acks.release(message.token)
            message.token = -1
            self._client.wake()

    def _on_message(self, packet):
        """Handler of the subscription: queue a copy of the message."""
        if self._ended:
            return
        queue = self._queue
        if len(queue) >= self._size:
            if self._overflow == "oldest":
                self._release(queue.pop(0))
                self.dropped += 1
            elif (
                self._overflow == "newest"
                or not packet.qos
                or len(queue) >= self._size + self._client.deferred_acks.capacity
            ):
                self._client.sync_client.session._handler_failed = True  # acknowledge with 0x80
                self.dropped += 1
                return
        message = Message(packet)
        if len(queue) >= self._size:
            message.token = self._client.deferred_acks.defer()
        queue.append(message)
        self._event.set()
