"""Benchmark of scaling and topic aliases of umqtt5 that runs in the VM, with a broker in memory.

There is no network and no second process, so the figures contain only the work of the client.
"""

import gc
import io
import json
from array import array
from time import ticks_diff, ticks_us

from umqtt5 import Client

PAYLOAD = b"0123456789abcdef0123456789abcdef"
ROUNDS = 40


class Stream(io.IOBase):
    """Stream to a broker in memory.

    It answers CONNECT and SUBSCRIBE at once, and QoS 1 messages when `acknowledge` is called.
    If `identifiers` is true, the broker supports Subscription Identifiers.
    """

    def __init__(self, identifiers):
        self.identifiers = identifiers
        self.pending_input = b""  # bytes that the client reads next
        self.properties = b""  # Subscription Identifier of the latest SUBSCRIBE, with the length before it
        self.bytes = 0  # number of bytes that the client has written
        self.pending_acks = array("H", [0] * 128)  # ring of packet identifiers to acknowledge
        self.first = self.count = 0  # of the ring: index of the oldest identifier, number of identifiers
        self.puback = bytearray(b"\x40\x02\x00\x00")

    def ioctl(self, request, argument):
        return argument & 5 if request == 3 else 0

    def close(self):
        pass

    def readinto(self, buf, n):
        size = len(self.pending_input)
        if not size:
            return None
        buf[0:size] = self.pending_input
        self.pending_input = b""
        return size

    def write(self, buf, at, n):
        self.bytes += n
        first = buf[at]
        if first == 0x10:
            self.pending_input = b"\x20\x06\x00\x00\x03\x22\x00\x80"
            if not self.identifiers:
                self.pending_input = b"\x20\x08\x00\x00\x05\x22\x00\x80\x29\x00"
        elif first & 6 == 2 and first < 0x40:
            place = at + 4 + buf[at + 3]
            self.pending_acks[(self.first + self.count) & 127] = buf[place] << 8 | buf[place + 1]
            self.count += 1
        elif first == 0x82:
            end = at + n
            while at < end:
                self.pending_input += bytes((0x90, 4, buf[at + 2], buf[at + 3], 0, 0))
                self.properties = bytes(buf[at + 4 : at + 5 + buf[at + 4]])
                at += 2 + buf[at + 1]
        return n

    def acknowledge(self):
        """Send the PUBACK of the oldest QoS 1 message."""
        packet_id = self.pending_acks[self.first]
        self.puback[2] = packet_id >> 8
        self.puback[3] = packet_id & 255
        self.pending_input = self.puback
        self.first = (self.first + 1) & 127
        self.count -= 1


def check(condition):
    """Raise ValueError if the condition is false. `assert` is removed at -O2."""
    if not condition:
        raise ValueError("the client did not do what the benchmark expects")


class Link:
    """A connected client and its stream."""

    def __init__(self, identifiers=True, **options):
        self.stream = Stream(identifiers)
        self.received = 0
        self.client = Client("", transport=self.transport, client_id="bench", **options)
        self.client.connect()

    def transport(self, host, port):
        return self.stream

    def handle(self, message):
        """Count a received message."""
        self.received += 1


def costs(prepare, n):
    """Return the microseconds of a step with 1, 10 and 100 items, as a dictionary by number.

    `prepare(number)` returns the function `step(i)`. The result is the best of `ROUNDS` rounds of `n`
    steps. Each round runs all three numbers, so that other load on the computer affects all of them.
    """
    steps = [(str(many), prepare(many)) for many in (1, 10, 100)]
    best = {}
    for _ in range(ROUNDS):
        for many, step in steps:
            gc.collect()
            start = ticks_us()
            for i in range(n):
                step(i)
            took = ticks_diff(ticks_us(), start) / n
            best[many] = min(best.get(many, took), took)
    return best


def subscriptions(identifiers):
    """Return a `prepare` for `costs`: a step receives a message for the last of `many` subscriptions."""

    def prepare(many):
        link = Link(identifiers)
        client, stream = link.client, link.stream
        for i in range(many):
            client.subscribe("building/room/%03d" % i, link.handle)
            client.poll(0)
            client.poll(0)
        topic = b"building/room/%03d" % (many - 1)
        check(len(stream.properties) > 1 if identifiers else stream.properties == b"\x00")
        body = bytes((0, len(topic))) + topic + stream.properties + PAYLOAD
        message = bytes((0x30, len(body))) + body

        def step(i):
            stream.pending_input = message
            client.poll(0)

        step(0)
        check(link.received == 1)
        return step

    return prepare


def topics(aliases):
    """Return a `prepare` for `costs`: a step publishes a QoS 0 message to the next of `many` topics."""

    def prepare(many):
        client = Link(aliases=aliases).client
        handles = [client.topic("building/room/%03d" % i) for i in range(many)]

        def step(i):
            client.publish(handles[i % many], PAYLOAD)

        for i in range(many):
            step(i)
        return step

    return prepare


def inflight(many):
    """A `prepare` for `costs`: a step publishes at QoS 1 and receives a PUBACK, with `many` in flight."""
    link = Link(inflight=many + 1, outbox=200 * many + 400)
    client, stream = link.client, link.stream
    topic = client.topic("building/room/000")
    for _ in range(many - 1):
        check(client.publish(topic, PAYLOAD, 1))

    def step(i):
        check(client.publish(topic, PAYLOAD, 1))
        stream.acknowledge()
        client.poll(0)
        check(stream.count == many - 1)

    return step


def scaling(n):
    """Print the microseconds per message, from rounds of `n` messages."""
    figures = {}
    for name, prepare in (
        ("subscriptions", subscriptions(True)),
        ("subscriptions_by_topic", subscriptions(False)),
        ("topics", topics(100)),
        ("topics_8_aliases", topics(8)),
        ("inflight", inflight),
    ):
        figures[name] = costs(prepare, n)
    print("BENCH " + json.dumps(figures))


def aliases(file):
    """Print the bytes written for a sequence of topics, without and with eight aliases.

    Each byte of `file` is the number of a topic.
    """
    with open(file, "rb") as f:
        sequence = f.read()
    figures = {}
    for number in (0, 8):
        link = Link(aliases=number)
        handles = [link.client.topic("building-%d/room-%02d/humidity" % divmod(i, 25)) for i in range(100)]
        before = link.stream.bytes
        for i in sequence:
            check(link.client.publish(handles[i], PAYLOAD))
        figures[str(number)] = link.stream.bytes - before
    figures["topic"] = len(handles[0].name)
    print("BENCH " + json.dumps(figures))
