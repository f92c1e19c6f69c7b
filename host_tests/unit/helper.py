"""What the unit tests share. Runs on CPython and MicroPython alike, so there is no pytest here."""

from umqtt5.core.session import CONNECTED, Session
from umqtt5.core.topics import Topic, encode_filter

CONNACK = b"\x20\x03\x00\x00\x00"


def raises(kind, function, *args):
    """Call it; returns the exception of `kind` that it has to raise."""
    try:
        function(*args)
    except kind as error:
        return error
    raise AssertionError("%s was not raised" % kind.__name__)


def packet(first, *parts):
    """A packet whose remaining length is right (up to 16,383 bytes)."""
    body = b"".join(parts)
    size = len(body)
    length = bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))
    return bytes((first,)) + length + body


def text(data):
    """A string on the wire."""
    return bytes((len(data) >> 8, len(data) & 255)) + data


def message(topic, payload, qos=0, packet_id=0, properties=b"", flags=0):
    """A PUBLISH as a broker sends it."""
    identifier = bytes((packet_id >> 8, packet_id & 255)) if qos else b""
    block = bytes((len(properties),)) + properties
    return packet(0x30 | qos << 1 | flags, text(topic), identifier, block, payload)


class Peer:
    """The scripted other side of a session: takes what it writes, gives it bytes, moves its clock."""

    def __init__(self, **options):
        sizes = {
            "client_id": b"test",
            "rx": 256,
            "tx": 256,
            "outbox": 512,
            "inflight": 4,
            "aliases": 4,
            "keep_alive": 60,
            "timeout": 5000,
            "session_expiry": 0,
        }
        sizes.update(options)
        self.now = 1000
        self.topics = {}
        self.session = Session(
            sizes["client_id"],
            sizes["rx"],
            sizes["tx"],
            sizes["outbox"],
            sizes["inflight"],
            sizes["aliases"],
            sizes["keep_alive"],
            sizes["timeout"],
        )
        self.session.session_expiry = sizes["session_expiry"]

    def take(self, most=100000):
        """What the session writes, in pieces of at most `most` bytes."""
        written = b""
        while True:
            n = self.session.output()
            if not n:
                return written
            n = min(n, most)
            at = self.session.out_at
            written += bytes(self.session.out[at : at + n])
            self.session.sent(n, self.now)

    def give(self, data, most=100000):
        """Have bytes arrive, in pieces of at most `most`; returns what the session writes."""
        session = self.session
        written = b""
        while data:
            if session.held:
                session.parse()
            n = min(most, session.framer.want, len(data))
            assert n, "the session takes no more"
            session.framer.into[:n] = data[:n]
            data = data[n:]
            session.received(n, self.now)
            written += self.take()
        return written

    def connect(self, connack=CONNACK):
        """Open, take the CONNECT, answer it; returns the CONNECT and what followed."""
        self.session.open(self.now)
        connect = self.take()
        return connect, self.give(connack)

    def publish(self, topic, payload, qos=0, retain=False, properties=b""):
        """What `Client.publish` does."""
        self.session.message_properties = properties
        self.session.first_byte = 0x30 | qos << 1 | (1 if retain else 0)
        return self.session.publish(topic, payload)

    def subscribe(self, topic_filter, handler, options=0):
        """What `Client.subscribe` does."""
        return self.session.subscriptions.add(encode_filter(topic_filter), handler, options)

    def unsubscribe(self, topic_filter):
        """What `Client.unsubscribe` does."""
        self.session.subscriptions.remove(encode_filter(topic_filter))

    def after(self, ms):
        """Let time pass; returns what `tick` says."""
        self.now += ms
        return self.session.tick(self.now)

    def publish_to(self, name, payload, qos=0, retain=False, properties=b""):
        """`publish` to a topic of this name; the same topic each time."""
        topic = self.topics.setdefault(name, Topic(name))
        return self.publish(topic, payload, qos, retain, properties)

    def cut(self):
        """The connection is gone."""
        self.session.lost()

    def close(self, reason=0):
        """What `Client.disconnect` does."""
        self.session.close(reason)

    @property
    def up(self):
        """True from CONNACK to the end of the connection."""
        return self.session.state == CONNECTED
