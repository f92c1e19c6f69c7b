"""Builders of MQTT packets, and `Peer`: a session with a scripted broker and clock.

The unit tests run on CPython and in the MicroPython VMs, so this module does not use pytest.
"""

from umqtt5.core.session import Session
from umqtt5.core.states import CONNECTED
from umqtt5.core.topics import Topic, encode_filter

CONNACK = b"\x20\x03\x00\x00\x00"


def raises(kind, function, *args):
    """Call `function(*args)`, which must raise `kind`; returns the exception."""
    try:
        function(*args)
    except kind as error:
        return error
    raise AssertionError("%s was not raised" % kind.__name__)


def make_packet(first, *parts):
    """Return an MQTT packet with the correct remaining length (up to 16,383 bytes)."""
    body = b"".join(parts)
    size = len(body)
    length = bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))
    return bytes((first,)) + length + body


def utf8_string(data):
    """Return a UTF-8 Encoded String: two bytes of length, then the data (1.5.4)."""
    return bytes((len(data) >> 8, len(data) & 255)) + data


def publish_packet(topic, payload, qos=0, packet_id=0, properties=b"", flags=0):
    """Return a PUBLISH packet as a broker sends it; `properties` excludes the property length."""
    identifier = bytes((packet_id >> 8, packet_id & 255)) if qos else b""
    block = bytes((len(properties),)) + properties
    return make_packet(0x30 | qos << 1 | flags, utf8_string(topic), identifier, block, payload)


def identifier_of(topic_filter):
    """Return the Subscription Identifier property that SUBSCRIBE has for a filter (bytes)."""
    value = 0
    for byte in topic_filter:
        value = (value * 31 + byte) % 16381
    value += 1
    return b"\x0b" + (bytes((value,)) if value < 128 else bytes((value & 127 | 128, value >> 7)))


class Peer:
    """A `Session` without I/O: tests read its output, feed it bytes and advance its clock."""

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

    def read_output(self, chunk=100000):
        """Return everything the session writes, read in chunks of at most `chunk` bytes."""
        written = b""
        while True:
            n = self.session.prepare_write()
            if not n:
                return written
            n = min(n, chunk)
            at = self.session.write_start
            written += bytes(self.session.write_buffer[at : at + n])
            self.session.confirm_write(n, self.now)

    def feed(self, data, chunk=100000):
        """Feed bytes in chunks of at most `chunk` bytes; returns what the session writes in reply."""
        session = self.session
        written = b""
        while data:
            if session.rx_paused:
                session.parse()
            n = min(chunk, session.framer.max_read, len(data))
            assert n, "the session accepts no more bytes"
            session.framer.read_buffer[:n] = data[:n]
            data = data[n:]
            session.receive_data(n, self.now)
            session.parse()
            written += self.read_output()
        return written

    def connect(self, connack=CONNACK):
        """Open the session and reply to its CONNECT; returns the CONNECT and what the session writes next."""
        self.session.open(self.now)
        connect = self.read_output()
        return connect, self.feed(connack)

    def publish(self, topic, payload, qos=0, retain=False, properties=b""):
        """Publish as `Client.publish` does."""
        self.session.message_properties = properties
        self.session.first_byte = 0x30 | qos << 1 | (1 if retain else 0)
        return self.session.publish(topic, payload)

    def subscribe(self, topic_filter, handler, options=0):
        """Subscribe as `Client.subscribe` does."""
        return self.session.subscriptions.add(encode_filter(topic_filter), handler, options)

    def unsubscribe(self, topic_filter):
        """Unsubscribe as `Client.unsubscribe` does."""
        self.session.subscriptions.remove(encode_filter(topic_filter))

    def advance(self, ms):
        """Advance the clock by `ms`; returns the result of `Session.tick`."""
        self.now += ms
        return self.session.tick(self.now)

    def publish_by_name(self, name, payload, qos=0, retain=False, properties=b""):
        """Publish to the topic of this name; later calls reuse its `Topic` object."""
        topic = self.topics.setdefault(name, Topic(name))
        return self.publish(topic, payload, qos, retain, properties)

    def cut(self):
        """Report a lost connection to the session."""
        self.session.connection_lost()

    def close(self, reason=0):
        """Disconnect as `Client.disconnect` does."""
        self.session.close(reason)

    @property
    def is_connected(self):
        """True from CONNACK to the end of the connection."""
        return self.session.state == CONNECTED
