"""Runs one kind of message `n` times over a stream in memory; see `tools.bench.instructions`.

The stream answers at once. It does as little as possible, because its instructions count, too.
"""

import io
import sys

TOPIC = b"building-7/room-12/humidity"
PAYLOAD = b"0123456789abcdef0123456789abcdef"
CONNACK = b"\x20\x06\x00\x00\x03\x22\x00\x0a"  # ten topic aliases


class Stream(io.IOBase):
    """The stream of umqtt5: answers CONNECT, SUBSCRIBE and PUBLISH, and delivers `message` `left` times."""

    def __init__(self):
        self.answer = self.message = None
        self.left = 0
        self.puback = bytearray(b"\x40\x02\x00\x00")

    def do_handshake(self):
        return 0

    def readinto(self, buf, n):
        data = self.answer
        if data is None:
            if not self.left:
                return None
            self.left -= 1
            data = self.message
        else:
            self.answer = None
        n = len(data)
        buf[0:n] = data
        return n

    def write(self, buf, at, n):
        first = buf[at]
        if first == 0x30:
            return n
        if first & 0xF6 == 0x32:
            at += 4 + (buf[at + 2] << 8 | buf[at + 3])
            answer = self.puback
            answer[2] = buf[at]
            answer[3] = buf[at + 1]
            self.answer = answer
        elif first == 0x10:
            self.answer = CONNACK
        elif first == 0x82:
            self.answer = bytes((0x90, 4, buf[at + 2], buf[at + 3], 0, 0))
        return n

    def ioctl(self, request, argument):
        return argument if request == 3 else 0  # MP_STREAM_POLL: always ready

    def close(self):
        pass


def run_umqtt5(kind, n):
    """Publish, receive or poll `n` times with umqtt5."""
    from umqtt5 import Client

    stream = Stream()
    client = Client("broker", client_id="bench", transport=lambda host, port: stream)
    if kind.startswith("received"):
        subscription = client.subscribe(TOPIC, lambda message: None)
    client.connect()
    client.poll(0)
    client.poll(0)
    topic = client.topic(TOPIC)
    if kind == "QoS 0, topic alias":
        client.publish(topic, PAYLOAD)
        for _ in range(n):
            client.publish(topic, PAYLOAD)
    elif kind == "QoS 0":
        topic.alias = -1
        for _ in range(n):
            client.publish(topic, PAYLOAD)
    elif kind == "QoS 1 and its PUBACK":
        for _ in range(n):
            client.publish(topic, PAYLOAD, 1)
            client.poll(0)
    else:
        if kind.startswith("received"):
            number = subscription.identifier
            properties = b"\x00" if kind == "received" else bytes((3, 0x0B, number & 127 | 128, number >> 7))
            body = bytes((0, len(TOPIC))) + TOPIC + properties + PAYLOAD
            stream.message = bytes((0x30, len(body))) + body
            stream.left = n
        for _ in range(n):
            client.poll(0)
    assert client.is_connected and not stream.left


class Socket:
    """The socket of umqtt.simple: returns the parts of `packet`, one for each call of `read`."""

    def __init__(self, packet):
        self.packet = packet
        self.at = 0

    def read(self, n):
        if not self.packet:
            return None
        part = self.packet[self.at]
        self.at = (self.at + 1) % len(self.packet)
        return part

    def write(self, buf, n=None):
        return n

    def setblocking(self, flag):
        pass


def run_simple(kind, n):
    """The same with umqtt.simple. Its client is connected already."""
    from umqtt.simple import MQTTClient

    client = MQTTClient("bench", "broker")
    client.set_callback(lambda topic, payload: None)
    if kind == "QoS 0":
        client.sock = Socket(None)
        for _ in range(n):
            client.publish(TOPIC, PAYLOAD)
    elif kind == "QoS 1 and its PUBACK":
        client.pid = 0
        client.sock = Socket([b"\x40", b"\x02", b"\x00\x01"])
        for _ in range(n):
            client.pid = 0  # the same packet identifier each time
            client.publish(TOPIC, PAYLOAD, False, 1)
    elif kind == "received":
        size = bytes((2 + len(TOPIC) + len(PAYLOAD),))
        client.sock = Socket([b"\x30", size, bytes((0, len(TOPIC))), TOPIC, PAYLOAD])
        for _ in range(n):
            client.wait_msg()
    else:
        client.sock = Socket(None)
        for _ in range(n):
            client.check_msg()


def main():
    run = run_umqtt5 if sys.argv[1] == "umqtt5" else run_simple
    run(sys.argv[2], int(sys.argv[3]))
    print("done")


main()
