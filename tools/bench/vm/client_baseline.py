"""Baseline of the benchmark: bare MQTT 5 packets from fixed buffers, without a client library.

It writes each packet with one socket write, checks nothing and has no timeouts. Its class also documents the
interface of all adapters.
"""

import socket

ALIASES = True  # whether the client supports Topic Aliases


class Client:
    """Interface of an adapter, as the driver uses it.

    - The constructor connects to the responder at `port`. All messages have this `topic` and `payload`.
      `count.increment` is called for each received message. With `aliased`, the topic gets an alias.
    - `publish(topic, payload)` publishes a QoS 0 message.
    - `subscribe(topic)` returns after the SUBACK.
    - `qos0(n)`, `qos1(n)` and `qos2(n)` publish `n` messages, one after the other. At QoS 1 and 2, each
      message is sent after the previous one has been acknowledged completely.
    - `qos1_window(n)` publishes `n` messages with up to 20 unacknowledged at a time.
    - `poll()` receives messages. `idle(n)` polls `n` times while no message arrives.
    - `close()` disconnects.

    An adapter omits `qos2` and `qos1_window` if its client does not support them.
    """

    def __init__(self, port, topic, payload, count, aliased):
        self.count = count
        self.sock = sock = socket.socket()
        sock.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        sock.setsockopt(6, 1, 1)  # TCP_NODELAY
        self.packet(b"\x10\x12\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x05bench")
        self.rx = bytearray(1024)
        sock.readinto(self.rx, 8)
        name = bytes((0, len(topic))) + topic.encode()
        if aliased:
            alias = b"\x03\x23\x00\x01"
            self.packet(self.build_packet(0x30, name + alias + payload))
            body = b"\x00\x00" + alias
        else:
            body = name + b"\x00"
        self.out0 = self.build_packet(0x30, body + payload)
        self.out1 = self.build_packet(0x32, name + b"\x00\x01\x00" + payload)
        self.out2 = self.build_packet(0x34, name + b"\x00\x01\x00" + payload)
        self.pubrel = b"\x62\x02\x00\x01"
        self.ack = bytearray(4)
        self.acks = bytearray(80)

    def build_packet(self, first, body):
        return bytearray(bytes((first, len(body))) + body)

    def packet(self, data):
        self.sock.write(data, len(data))

    def publish(self, topic, payload):
        self.packet(self.build_packet(0x30, bytes((0, len(topic))) + topic.encode() + b"\x00" + payload))

    def subscribe(self, topic):
        self.packet(
            self.build_packet(0x82, b"\x00\x01\x00" + bytes((0, len(topic))) + topic.encode() + b"\x00")
        )
        self.sock.readinto(self.rx, 6)
        self.sock.setblocking(False)

    def qos0(self, n):
        write, out = self.sock.write, self.out0
        size = len(out)
        for _ in range(n):
            write(out, size)

    def qos1(self, n):
        sock, out, ack = self.sock, self.out1, self.ack
        size = len(out)
        for _ in range(n):
            sock.write(out, size)
            sock.readinto(ack, 4)

    def qos1_window(self, n):
        sock, out, acks = self.sock, self.out1, self.acks
        size = len(out)
        for i in range(n):
            sock.write(out, size)
            if i % 20 == 19:
                sock.readinto(acks, 80)
        sock.readinto(acks, n % 20 * 4)

    def qos2(self, n):
        for _ in range(n):
            self.sock.write(self.out2, len(self.out2))
            self.sock.readinto(self.ack, 4)
            self.sock.write(self.pubrel, 4)
            self.sock.readinto(self.ack, 4)

    def poll(self):
        rx = self.rx
        n = self.sock.readinto(rx, 1024)
        if not n:
            return
        at = 0
        while True:
            while at + 2 <= n and at + 2 + rx[at + 1] <= n:
                self.count.increment()
                at += 2 + rx[at + 1]
            if at == n:
                return
            # the beginning of an incomplete packet: move it to the front and read more, byte by byte
            for i in range(n - at):
                rx[i] = rx[at + i]
            n -= at
            at = 0
            more = self.sock.readinto(self.ack, 1)
            if more:
                rx[n] = self.ack[0]
                n += 1

    def idle(self, n):
        self.sock.setblocking(False)
        for _ in range(n):
            self.sock.readinto(self.rx, 1024)
        self.sock.setblocking(True)

    def close(self):
        self.sock.close()
