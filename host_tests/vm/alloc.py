"""What the protocol core allocates per message. Runs inside the VMs, 64-bit and 32-bit, no socket.

Prints for each case its name, the bytes allocated by its tenth run, and whether it ran with
the heap locked. Bytes are `mem_total`, which also sees what is given back at once; a VM without
it (the 32-bit one) shows what stays.
"""

import gc

import micropython

from umqtt5.core.session import Session
from umqtt5.core.topics import Topic
from umqtt5.optional.strict import Strict
from umqtt5.optional.topic_aliases import AliasTable
from umqtt5.websocket import WebSocket, handshake, transport

# the 32-bit VM has neither SHA-1 nor `os.urandom`
handshake._accept = lambda key: b""
handshake._random = transport._random = bytes

CONNACK = b"\x20\x06\x00\x00\x03\x22\x00\x01"  # one topic alias
SUBACK = b"\x90\x04\x80\x00\x00\x01"
NUMBERED = b"\x32\x0e\x00\x05a/b/c\x00\x07\x02\x0b\x01hi"
EXACT = b"\x34\x0e\x00\x05a/b/c\x00\x07\x02\x0b\x01hi"
PUBREL = b"\x62\x02\x00\x07"
PLAIN = b"\x30\x0a\x00\x05a/b/c\x00hi"
RICH = b"\x32\x1a\x00\x05a/b/c\x00\x07\x0e\x0b\x01\x02\x00\x00\x00\x05\x08\x00\x04backhi"
ALIAS_SET = b"\x30\x0d\x00\x05a/b/c\x03\x23\x00\x01hi"
ALIAS_USED = b"\x30\x08\x00\x00\x03\x23\x00\x01hi"
TEXT = b"\x32\x10\x00\x05a/b/c\x00\x07\x04\x01\x01\x0b\x01hi"
PINGRESP = b"\xd0\x00"


class AllocationCases:
    """Drives a session as a driver does, without allocating anything itself."""

    def __init__(self):
        self.session = session = Session(b"id", 256, 256, 512, 4, 8, 60, 5000)
        self.strict = Strict(session)
        self.got = self.acknowledged = 0
        self.now = 0
        self.puback = bytearray(b"\x40\x02\x00\x00")
        self.aliased = Topic("a/b/c/aliased")
        self.full = Topic("a/b/c/full")
        self.payload = b"21.5"
        session.aliases = AliasTable(2)
        session.on_ack = self.ended
        session.open(0)
        self.write()
        self.give(CONNACK, 8)
        session.subscriptions.add(b"a/b/+", self.handle, 1)
        self.write()
        self.give(SUBACK, 6)
        session.first_byte = 0x30
        session.publish(self.aliased, self.payload)
        self.write()

    def handle(self, message):
        if message.equals(b"hi"):
            self.got += 1

    def ended(self, answer):
        if not answer.reason:
            self.acknowledged += 1

    def write(self):
        sender = self.session
        n = sender.prepare_write()
        while n:
            self.session.confirm_write(n, self.now)
            n = sender.prepare_write()

    def give(self, data, n):
        framer = self.session.framer
        framer.read_buffer[0:n] = data
        self.session.receive_data(n, self.now)
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
        self.answer(0x40, packet_id)
        assert not self.session.outbox.count

    def publish_qos_2_and_its_answers(self):
        self.session.first_byte = 0x34
        packet_id = self.session.publish(self.aliased, self.payload)
        assert packet_id
        self.write()
        self.answer(0x50, packet_id)
        self.answer(0x70, packet_id)
        assert not self.session.outbox.count

    def answer(self, first_byte, packet_id):
        self.puback[0] = first_byte
        self.puback[2] = packet_id >> 8
        self.puback[3] = packet_id & 255
        self.give(self.puback, 4)

    def receive_qos_1_by_number_and_acknowledge(self):
        before = self.got
        self.give(NUMBERED, len(NUMBERED))
        assert self.got == before + 1

    def receive_qos_2_and_release(self):
        before = self.got
        self.give(EXACT, len(EXACT))
        self.give(PUBREL, 4)
        assert self.got == before + 1 and not self.session.received_ids[0]

    def receive_qos_0_by_topic(self):
        before = self.got
        self.give(PLAIN, len(PLAIN))
        assert self.got == before + 1

    def receive_by_an_alias(self):
        before = self.got
        self.give(ALIAS_SET, len(ALIAS_SET))
        self.give(ALIAS_USED, len(ALIAS_USED))
        assert self.got == before + 2

    def receive_with_properties(self):
        before = self.got
        self.give(RICH, len(RICH))
        assert self.got == before + 1

    def receive_strictly(self):
        before = self.got
        self.session.strict = self.strict
        self.give(TEXT, len(TEXT))
        self.session.strict = None
        assert self.got == before + 1

    def ping_and_its_answer(self):
        self.now += 60000
        self.session.tick(self.now)
        assert self.session.ping_pending
        self.write()
        self.give(PINGRESP, 2)
        assert not self.session.ping_pending

    def idle(self):
        self.session.tick(self.now)


class Socket:
    """A WebSocket whose stream below takes all and gives `inbox` again and again."""

    def __init__(self):
        self.inbox = b"\x02\x01a\x89\x01p\x80\x7e\x00\x7f" + b"b" * 127  # fragments round a ping
        self.at = self.got = self.sent = 0
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

    def web_socket_read(self):
        self.got = 0
        self.sent = 0
        n = self.web.readinto(self.buf, 256)
        while n:
            self.got += n
            n = self.web.readinto(self.buf, 256)
        assert self.got == 128 and self.sent == 7, (self.got, self.sent)

    def web_socket_write(self):
        self.sent = 0
        assert self.web.write(self.packet, 0, 600) == 504
        assert self.web.write(self.packet, 504, 96) == 96
        assert self.sent == 608


def allocated(function):
    """Bytes that one call allocates, once the first calls are over."""
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
    """True where a call succeeds with the heap locked."""
    micropython.heap_lock()
    try:
        function()
        return True
    except MemoryError:
        return False
    finally:
        micropython.heap_unlock()


def main():
    link = AllocationCases()
    for name in (
        "publish_qos_0_aliased",
        "publish_qos_0_full_topic",
        "publish_qos_1_and_its_puback",
        "publish_qos_2_and_its_answers",
        "receive_qos_1_by_number_and_acknowledge",
        "receive_qos_2_and_release",
        "receive_qos_0_by_topic",
        "receive_by_an_alias",
        "receive_with_properties",
        "receive_strictly",
        "ping_and_its_answer",
        "idle",
    ):
        function = getattr(link, name)
        print(name, allocated(function), runs_with_heap_locked(function))
    socket = Socket()
    for name in ("web_socket_read", "web_socket_write"):
        function = getattr(socket, name)
        print(name, allocated(function), runs_with_heap_locked(function))


if __name__ == "__main__":
    main()
