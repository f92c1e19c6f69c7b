"""Measure what the protocol core allocates per message. Runs in the 64-bit and the 32-bit VM.

Prints one line per case: its name, the bytes allocated by its tenth run, and whether it runs with the heap
locked. Bytes are counted by `mem_total`, which includes memory that is freed at once. A VM without it (the
32-bit one) counts only memory that is still allocated after the run.
"""

import gc

import micropython

from umqtt5.core.session import Session
from umqtt5.core.topics import Topic
from umqtt5.optional.strict import Strict
from umqtt5.optional.topic_aliases import AliasTable
from umqtt5.websocket import WebSocket, handshake, transport

# replaced because the 32-bit VM has neither SHA-1 nor `os.urandom`
handshake._accept = lambda key: b""
handshake._random = transport._random = bytes

CONNACK = b"\x20\x06\x00\x00\x03\x22\x00\x01"  # one topic alias
SUBACK = b"\x90\x04\x80\x00\x00\x01"
QOS_1 = b"\x32\x0e\x00\x05a/b/c\x00\x07\x02\x0b\x01hi"
QOS_2 = b"\x34\x0e\x00\x05a/b/c\x00\x07\x02\x0b\x01hi"
PUBREL = b"\x62\x02\x00\x07"
QOS_0 = b"\x30\x0a\x00\x05a/b/c\x00hi"
WITH_PROPERTIES = b"\x32\x1a\x00\x05a/b/c\x00\x07\x0e\x0b\x01\x02\x00\x00\x00\x05\x08\x00\x04backhi"
ALIAS_SET = b"\x30\x0d\x00\x05a/b/c\x03\x23\x00\x01hi"
ALIAS_USED = b"\x30\x08\x00\x00\x03\x23\x00\x01hi"
TEXT = b"\x32\x10\x00\x05a/b/c\x00\x07\x04\x01\x01\x0b\x01hi"
PINGRESP = b"\xd0\x00"


class AllocationCases:
    """The cases, on one session. The methods allocate nothing themselves."""

    def __init__(self):
        self.session = session = Session(b"id", 256, 256, 512, 4, 8, 60, 5000)
        self.strict = Strict(session)
        self.received = self.acknowledged = 0
        self.now = 0
        self.puback = bytearray(b"\x40\x02\x00\x00")
        self.aliased = Topic("a/b/c/aliased")
        self.full = Topic("a/b/c/full")
        self.payload = b"21.5"
        session.aliases = AliasTable(2)
        session.on_ack = self.on_ack
        session.open(0)
        self.write()
        self.receive(CONNACK, 8)
        session.subscriptions.add(b"a/b/+", self.on_message, 1)
        self.write()
        self.receive(SUBACK, 6)
        session.first_byte = 0x30
        session.publish(self.aliased, self.payload)
        self.write()

    def on_message(self, message):
        if message.equals(b"hi"):
            self.received += 1

    def on_ack(self, answer):
        if not answer.reason:
            self.acknowledged += 1

    def write(self):
        """Send all output of the session."""
        sender = self.session
        n = sender.prepare_write()
        while n:
            self.session.confirm_write(n, self.now)
            n = sender.prepare_write()

    def receive(self, data, n):
        framer = self.session.framer
        framer.read_buffer[0:n] = data
        self.session.receive_data(n, self.now)
        self.session.parse()
        self.write()

    def publish_qos_0_aliased(self):
        self.session.first_byte = 0x30
        assert self.session.publish(self.aliased, self.payload)
        self.write()

    def publish_qos_0_full_topic(self):
        self.session.first_byte = 0x31
        assert self.session.publish(self.full, self.payload)
        self.write()

    def publish_qos_1_and_its_puback(self):
        self.session.first_byte = 0x32
        packet_id = self.session.publish(self.aliased, self.payload)
        assert packet_id
        self.write()
        self.acknowledge(0x40, packet_id)
        assert not self.session.outbox.count

    def publish_qos_2_and_its_acknowledgements(self):
        self.session.first_byte = 0x34
        packet_id = self.session.publish(self.aliased, self.payload)
        assert packet_id
        self.write()
        self.acknowledge(0x50, packet_id)
        self.acknowledge(0x70, packet_id)
        assert not self.session.outbox.count

    def acknowledge(self, first_byte, packet_id):
        self.puback[0] = first_byte
        self.puback[2] = packet_id >> 8
        self.puback[3] = packet_id & 255
        self.receive(self.puback, 4)

    def receive_qos_1_by_subscription_identifier(self):
        before = self.received
        self.receive(QOS_1, len(QOS_1))
        assert self.received == before + 1

    def receive_qos_2_and_release(self):
        before = self.received
        self.receive(QOS_2, len(QOS_2))
        self.receive(PUBREL, 4)
        assert self.received == before + 1 and not self.session.received_ids[0]

    def receive_qos_0_by_topic(self):
        before = self.received
        self.receive(QOS_0, len(QOS_0))
        assert self.received == before + 1

    def receive_by_topic_alias(self):
        before = self.received
        self.receive(ALIAS_SET, len(ALIAS_SET))
        self.receive(ALIAS_USED, len(ALIAS_USED))
        assert self.received == before + 2

    def receive_with_properties(self):
        before = self.received
        self.receive(WITH_PROPERTIES, len(WITH_PROPERTIES))
        assert self.received == before + 1

    def receive_with_strict_checks(self):
        before = self.received
        self.session.strict = self.strict
        self.receive(TEXT, len(TEXT))
        self.session.strict = None
        assert self.received == before + 1

    def ping_and_its_response(self):
        self.now += 60000
        self.session.tick(self.now)
        assert self.session.ping_pending
        self.write()
        self.receive(PINGRESP, 2)
        assert not self.session.ping_pending

    def idle(self):
        self.session.tick(self.now)


class WebSocketCases:
    """The cases of a WebSocket. The stream below accepts all data and repeats `inbox`."""

    def __init__(self):
        self.inbox = (
            b"\x02\x01a\x89\x01p\x80\x7e\x00\x7f" + b"b" * 127
        )  # two fragments and a ping between them
        self.at = self.received = self.sent = 0
        self.buf = bytearray(256)
        self.packet = bytes(600)
        self.web = WebSocket(self.connect, "/", "", 512)
        self.web("broker", 80)

    def connect(self, host, port):
        return self

    def readinto(self, buf, n):
        if self.at == len(self.inbox):
            self.at = 0
            return None
        n = min(n, len(self.inbox) - self.at)
        for i in range(n):
            buf[i] = self.inbox[self.at]
            self.at += 1
        return n

    def write(self, buf, at, n):
        self.sent += n
        return n

    def websocket_read(self):
        self.received = 0
        self.sent = 0
        n = self.web.readinto(self.buf, 256)
        while n:
            self.received += n
            n = self.web.readinto(self.buf, 256)
        assert self.received == 128 and self.sent == 7, (self.received, self.sent)

    def websocket_write(self):
        self.sent = 0
        assert self.web.write(self.packet, 0, 600) == 504
        assert self.web.write(self.packet, 504, 96) == 96
        assert self.sent == 608


def allocated(function):
    """Return the number of bytes that the tenth call of `function` allocates."""
    counter = getattr(micropython, "mem_total", gc.mem_alloc)
    for _ in range(9):
        function()
    gc.collect()
    gc.disable()
    before = counter()
    function()
    after = counter()
    gc.enable()
    return after - before


def runs_with_heap_locked(function):
    """Return True if a call succeeds while the heap is locked."""
    micropython.heap_lock()
    try:
        function()
        return True
    except MemoryError:
        return False
    finally:
        micropython.heap_unlock()


def main():
    cases = AllocationCases()
    for name in (
        "publish_qos_0_aliased",
        "publish_qos_0_full_topic",
        "publish_qos_1_and_its_puback",
        "publish_qos_2_and_its_acknowledgements",
        "receive_qos_1_by_subscription_identifier",
        "receive_qos_2_and_release",
        "receive_qos_0_by_topic",
        "receive_by_topic_alias",
        "receive_with_properties",
        "receive_with_strict_checks",
        "ping_and_its_response",
        "idle",
    ):
        function = getattr(cases, name)
        print(name, allocated(function), runs_with_heap_locked(function))
    socket = WebSocketCases()
    for name in ("websocket_read", "websocket_write"):
        function = getattr(socket, name)
        print(name, allocated(function), runs_with_heap_locked(function))


if __name__ == "__main__":
    main()
