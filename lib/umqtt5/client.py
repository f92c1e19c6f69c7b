"""What a user holds in his hands: topics, subscriptions, messages, and the link below."""

from micropython import const

from .encode import subscribe_size
from .link import Link
from .session import Session
from .topics import Topic, encode_filter
from .wire import encode_text, put_u32

_MASK = const(0x3FFFFFFF)
_BYTES = (bytes, bytearray, memoryview)


class Client(Link):
    """An MQTT 5.0 client whose memory is what its arguments say.

    Sizes in bytes: `rx` is the largest packet that can be received, which the broker is
    told (Maximum Packet Size); `tx` holds what is on its way out and bounds CONNECT and
    QoS 0 messages; `outbox` holds QoS 1 and 2 messages until they are acknowledged. `inflight`
    is how many of these there may be, and how many unacknowledged ones the broker may send
    (Receive Maximum). `aliases` is how many topic aliases we use, as far as the broker has
    that many; `topic_alias_maximum` how many it may use, 64 bytes each. `timeout` in ms
    bounds each wait. `keep_alive` and `session_expiry` are in seconds.

    `transport(host, port)` returns the stream; see `tcp`. Raises ValueError for text that
    MQTT forbids (1.5.4).
    """

    def __init__(
        self,
        host,
        port=1883,
        *,
        client_id="",
        user=None,
        password=None,
        keep_alive=60,
        session_expiry=3600,
        rx=1024,
        tx=1024,
        outbox=2048,
        inflight=8,
        aliases=8,
        topic_alias_maximum=0,
        timeout=10000,
        transport=None,
    ):
        if transport is None:
            from .tcp import connect as transport
        session = Session(encode_text(client_id), rx, tx, outbox, inflight, aliases, keep_alive, timeout)
        session.session_expiry = session_expiry
        if topic_alias_maximum:
            from .aliases import AliasTable

            session.aliases = AliasTable(topic_alias_maximum)
        if user is not None:
            session.user = encode_text(user)
        if password is not None:
            session.password = password.encode() if isinstance(password, str) else password
        super().__init__(session, transport, host, port, timeout)
        self._topics = {}
        self._names = aliases

    # ---- set up

    def topic(self, name):
        """A topic name encoded once, for `publish` without allocation. Raises ValueError."""
        return self._topics.get(name) or Topic(name)

    def will(self, topic, payload, qos=0, retain=False, delay=0, properties=b""):
        """What the broker publishes when this client is gone without a DISCONNECT (3.1.2.5).

        `delay` in seconds is how long it waits for the client to come back (3.1.3.2.2).
        Takes effect with the next connection. Raises ValueError.
        """
        if not 0 <= qos <= 2:
            raise ValueError("qos is 0, 1 or 2")
        if delay:
            properties = bytearray(5) + properties
            properties[0] = 0x18
            put_u32(properties, 1, delay)
        flags = 0x04 | qos << 3 | (0x20 if retain else 0)
        payload = bytes(payload if isinstance(payload, _BYTES) else _encode(payload))
        self.session.will = (flags, bytes(properties), Topic(topic).name, payload)

    def subscribe(
        self, topic_filter, handler, qos=0, *, no_local=False, retain_as_published=False, retain_handling=0
    ):
        """Have `handler(message)` called for what matches; kept over reconnects.

        The message is a `decode.Packet`, which lives until the handler returns; that
        acknowledges it. `no_local` leaves out what this client publishes itself,
        `retain_as_published` leaves the retain flag as it was, `retain_handling` 1 sends
        retained messages only for a new subscription, 2 never (3.8.3.1).

        Returns a `Subscription` whose `reason` is the broker's answer, when it has come. May
        be called before `connect`. Raises ValueError.
        """
        if not (0 <= qos <= 2 and 0 <= retain_handling <= 2):
            raise ValueError("qos and retain_handling are 0, 1 or 2")
        data = encode_filter(topic_filter)
        if no_local and data.startswith(b"$share/"):  # [MQTT-3.8.3-4]
            raise ValueError("no_local is not for shared subscriptions")
        self._sender.check_room(subscribe_size(data, _MASK))
        if no_local:
            qos |= 4
        if retain_as_published:
            qos |= 8
        return self.session.subscriptions.add(topic_filter, handler, qos | retain_handling << 4)

    def on(self, topic_filter, qos=0, **options):
        """`subscribe` as a decorator."""

        def take(handler):
            self.subscribe(topic_filter, handler, qos, **options)
            return handler

        return take

    def unsubscribe(self, topic_filter):
        """End a subscription. Raises ValueError where there is none."""
        self.session.subscriptions.remove(topic_filter)

    def publish(self, topic, payload, qos=0, retain=False, properties=b""):
        """Publish bytes or a str to a topic (a str, or a handle from `topic`).

        QoS 0: True where it went to the stream, False where there is no link or no room.
        QoS 1 and 2: its packet identifier, which `on_ack` tells of; it stays in the outbox until
        it is acknowledged, over reconnects. 0 where the outbox is full: poll, and try again.
        `properties` is what `umqtt5.properties.pack` makes.

        Raises MQTTError where a limit of the broker forbids it, ValueError where it could
        never fit into `tx` or `outbox`. Nothing is sent then, and the link lives on.
        """
        if not isinstance(topic, Topic):
            topic = self._named(topic)
        if not isinstance(payload, _BYTES):
            payload = _encode(payload)
        if properties:
            if not isinstance(properties, _BYTES):
                raise TypeError("properties are bytes, see umqtt5.properties.pack")
            self._sender.properties = properties
        qos = qos << 1 | 0x30  # the first byte of the packet
        if retain:
            qos |= 1
        qos = self._sender.publish(topic, payload, qos)
        if qos:
            self._push()
        return qos

    def _named(self, name):
        """The handle for a str; kept for as many of them as there may be aliases."""
        topic = self._topics.get(name)
        if topic is None:
            topic = Topic(name)
            if len(self._topics) < self._names:
                self._topics[name] = topic
            else:
                topic.alias = -1  # gone after this message: it would waste an alias
        return topic


def _encode(text):
    """What is published and is not bytes has to be str."""
    if isinstance(text, str):
        return text.encode()
    raise TypeError("bytes or str expected")
