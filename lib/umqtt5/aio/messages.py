"""What `aio` hands out: copies of messages and answers, which may be kept, and the iterator over them."""

from asyncio import Event

from ..core.errors import MQTTError
from ..core.packet import Packet

_REASON_STRING = 0x1F


class _Copy:
    """The properties of a packet as bytes of our own."""

    def __init__(self, packet):
        self.properties = bytes(memoryview(packet._buf)[packet.properties_at : packet.properties_end])

    def property(self, identifier, nth=0):
        """The `nth` property with this identifier: see `packet.Packet.property`."""
        packet = Packet(self.properties)
        packet.properties_end = len(self.properties)
        return packet.property(identifier, nth)


class Answer(_Copy):
    """The broker's acknowledgement: `reason` is its reason code, below 0x80 (2.4)."""

    def __init__(self, packet):
        super().__init__(packet)
        self.reason = packet.reason

    @property
    def detail(self):
        """The broker's words, `""` where there are none."""
        return self.property(_REASON_STRING) or ""


class Message(_Copy):
    """A message: `topic` is a str, `payload` bytes, `qos` and `retain` as received."""

    def __init__(self, packet):
        super().__init__(packet)
        self.topic = packet.topic
        self.payload = packet.payload
        self.qos = packet.qos
        self.retain = packet.retain
        self.packet_id = packet.packet_id
        self.ticket = -1  # its acknowledgement waits under this number, see `held`


class Messages:
    """The messages of one subscription, for `async for`; they live on over reconnects.

    At most `queue` of them wait until they are asked for. When one more comes, `overflow` says
    what becomes of it:

    - `"oldest"`: the oldest gives way. It was acknowledged when it came.
    - `"newest"`: the new one is refused. At QoS 1 and 2 the broker is told so, by 0x80.
    - `"wait"`: at QoS 1 and 2 the new one is not acknowledged before there is room for it. The
      broker sends no more than `inflight` of those (Receive Maximum), which take room beside the
      queue, and keeps the rest. As acknowledgements go out in the order of arrival [MQTT-4.6.0-2],
      those of other subscriptions wait meanwhile, too, and no message of QoS 1 or 2 comes for these
      once the broker has sent `inflight`. QoS 0, our own messages, their acknowledgements and the
      keep-alive go on; at QoS 0, where nothing can be held back, a new message gives way. A broker
      that sends far more than it may is sent away with 0x93 (Receive Maximum exceeded).

    `dropped` counts those that gave way or were refused.

    The iterator ends at `client.disconnect()`, `client.unsubscribe()` and `close()`, after what has
    come. It raises MQTTError where the broker refuses the subscription. Leaving the loop ends
    nothing; `async with` does, and waits for the broker's answer first:

        async with client.messages("a/+", qos=1, overflow="wait") as messages:
            async for message in messages:

    Another iterator over the same filter takes over what waits, and ends this one. A message comes
    to one of the tasks that share an iterator.
    """

    def __init__(self, client, topic_filter, qos, queue, overflow, options):
        if overflow not in ("oldest", "newest", "wait") or queue < 1:
            raise ValueError('overflow: "oldest", "newest" or "wait" expected, and a queue of 1 or more')
        self._client = client
        self._filter = topic_filter
        self._size = queue
        self._overflow = overflow
        self._queue: list = []
        self._event = Event()
        self._ended = False
        self._error = None
        self.dropped = 0
        if overflow == "wait" and not client.held:
            from ..optional.manual_ack import Held

            client.held = Held(client)
        self.subscription = client.driver.subscribe(topic_filter, self._came, qos, **options)
        for other in list(client.open):
            if other.subscription is self.subscription:
                self._queue = other.leave()
                other._queue = []
        client.open.append(self)
        client.wake()

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self._queue:
            if self._error:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._event.clear()
            await self._event.wait()
        message = self._queue.pop(0)
        if len(self._queue) >= self._size:
            self._release(self._queue[self._size - 1])
        return message

    async def __aenter__(self):
        good = False
        try:
            # a message says as much as SUBACK, which may be behind more of them than there is room for
            while self.subscription.reason is None and not self._queue and not self._ended:
                self._event.clear()
                await self._event.wait()
            if self._error:
                raise self._error
            good = True
        finally:
            if not good:
                self.close()
        return self

    async def __aexit__(self, *error):
        self.close()

    def close(self):
        """Unsubscribe, and end the iterator when it has given out what has come."""
        if not self._ended:
            self.leave()
            if self.subscription.wanted:
                self._client.driver.unsubscribe(self._filter)
                self._client.wake()

    def leave(self):
        """End without unsubscribing; returns what waits."""
        self._ended = True
        self._client.open.remove(self)
        for message in self._queue:
            self._release(message)
        self._event.set()
        return self._queue

    def answered(self, packet):
        """The broker has answered SUBSCRIBE."""
        self._error = None
        if packet.reason >= 0x80:
            self._error = MQTTError(packet.reason, Answer(packet).detail)
        self._event.set()

    def resent(self):
        """The session goes on in a new connection: what was not acknowledged comes again."""
        while self._queue and self._queue[-1].ticket >= 0:
            message = self._queue.pop()
            if message.qos == 2:  # and is delivered then
                self._client.driver.session._swap(message.packet_id, 0)

    def kept(self):
        """The session is lost: these are the only copies, and nobody waits for their acknowledgement."""
        for message in self._queue:
            message.ticket = -1

    def _release(self, message):
        if message.ticket >= 0:
            self._client.held.release(message.ticket)
            message.ticket = -1
            self._client.wake()

    def _came(self, packet):
        """The handler of the subscription."""
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
                or len(queue) >= self._size + self._client.held.places
            ):
                self._client.driver.session._raised = True  # that it is told so
                self.dropped += 1
                return
        message = Message(packet)
        if len(queue) >= self._size:
            message.ticket = self._client.held.hold()
        queue.append(message)
        self._event.set()
