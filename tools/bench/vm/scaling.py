"""What a message costs umqtt5 as the work grows, and what its aliases save. Runs in the VM.

The stream is in memory: no network hides what the client does, and no other process is in its way.
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
    """A broker's end: answers CONNECT and SUBSCRIBE at once, a QoS 1 message when told to."""

    def __init__(self, identifiers):
        self.identifiers = identifiers
        self.pending_input = b""
        self.bytes = 0
        self.pending_acks = array("H", [0] * 128)  # packet identifiers, in a ring
        self.first = self.count = 0
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
                at += 2 + buf[at + 1]
        return n

    def acknowledge(self):
        """Have the oldest QoS 1 message acknowledged."""
        packet_id = self.pending_acks[self.first]
        self.puback[2] = packet_id >> 8
        self.puback[3] = packet_id & 255
        self.pending_input = self.puback
        self.first = (self.first + 1) & 127
        self.count -= 1


def check(good):
    """`assert` is left out at -O2."""
    if not good:
        raise ValueError("the client did not do it")


class Link:
    def __init__(self, identifiers=True, **options):
        self.stream = Stream(identifiers)
        self.received = 0
        self.client = Client("", transport=self.transport, client_id="bench", **options)
        self.client.connect()

    def transport(self, host, port):
        return self.stream

    def handle(self, message):
        self.received += 1


def costs(prepare, n):
    """Microseconds of one `step(i)` with 1, 10 and 100 of what `prepare` makes steps for.

    The best of many short rounds in turn: what disturbs the machine disturbs each of them.
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
    def prepare(many):
        link = Link(identifiers)
        client, stream = link.client, link.stream
        for i in range(many):
            client.subscribe("building/room/%03d" % i, link.handle)
            client.poll(0)
            client.poll(0)
        topic = b"building/room/%03d" % (many - 1)
        properties = bytes((2, 0x0B, many)) if identifiers else b"\x00"
        body = bytes((0, len(topic))) + topic + properties + PAYLOAD
        message = bytes((0x30, len(body))) + body

        def step(i):
            stream.pending_input = message
            client.poll(0)

        step(0)
        check(link.received == 1)
        return step

    return prepare


def topics(aliases):
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
    found = {}
    for name, prepare in (
        ("subscriptions", subscriptions(True)),
        ("subscriptions_by_topic", subscriptions(False)),
        ("topics", topics(100)),
        ("topics_8_aliases", topics(8)),
        ("inflight", inflight),
    ):
        found[name] = costs(prepare, n)
    print("BENCH " + json.dumps(found))


def aliases(file):
    """Bytes on the wire for the topics in `file`, one byte each, without and with aliases."""
    with open(file, "rb") as f:
        sequence = f.read()
    found = {}
    for how_many in (0, 8):
        link = Link(aliases=how_many)
        handles = [link.client.topic("building-%d/room-%02d/humidity" % divmod(i, 25)) for i in range(100)]
        before = link.stream.bytes
        for i in sequence:
            check(link.client.publish(handles[i], PAYLOAD))
        found[str(how_many)] = link.stream.bytes - before
    found["topic"] = len(handles[0].name)
    print("BENCH " + json.dumps(found))
