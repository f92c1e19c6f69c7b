"""Functions of `micropython.schedule` publish while the client works. Runs in the 64-bit and the 32-bit VM.

A scheduled function schedules itself again, so MicroPython runs it each time when it looks for scheduled
functions: at each jump of the library. Prints the number of its calls, of accepted and of refused messages
per QoS, and the bytes that were allocated.
"""

import gc

import micropython

from umqtt5.core import connection
from umqtt5.core.client import Client

_CALLS = 60000
_WARM_UP = 2000
_QUEUE = 4096  # bytes

CONNACK = b"\x20\x06\x00\x00\x03\x22\x00\x01"  # one topic alias
IN = b"\x32\x09\x00\x02in\x00\x01\x00hi"  # QoS 1; the packet identifier is at offset 6


class Broker:
    """The stream, the poller and the broker of one client. Its methods allocate nothing."""

    def __init__(self):
        self.now = self.looks = 0
        self.packet = bytearray(256)  # the packet that the client is writing
        self.have = 0
        self.inbox = bytearray(_QUEUE)
        self.first = self.last = 0
        self.message = bytearray(IN)
        self.arrived = bytearray(1 << 16)  # how often each number has arrived
        self.released = self.acknowledged = self.sent = 0
        self.is_sending = False
        self.events = ((self, 1),)

    # ---- the poller and the transport

    def connect(self, host, port):
        return self

    def register(self, stream, events):
        pass

    def modify(self, stream, events):
        pass

    def unregister(self, stream):
        pass

    def close(self):
        pass

    def ipoll(self, ms):
        self.now = self.now + 1 & 0x3FFFFFFF
        return self.events

    def ticks_ms(self):
        self.looks = self.looks + 1 & 255
        if not self.looks:  # time passes, also while the client has no reason to wait
            self.now = self.now + 1 & 0x3FFFFFFF
        return self.now

    # ---- the stream

    def readinto(self, buf, n):
        i = 0
        while i < n and self.first != self.last:
            buf[i] = self.inbox[self.first]
            self.first = (self.first + 1) % _QUEUE
            i += 1
        return i or None

    def write(self, buf, at, n):
        end = at + n
        while at < end:
            self.packet[self.have] = buf[at]
            self.have += 1
            at += 1
            if self.have > 1 and self.have == 2 + self.packet[1]:
                self.take()
                self.have = 0
        return n

    def put(self, byte):
        self.inbox[self.last] = byte
        self.last = (self.last + 1) % _QUEUE
        assert self.last != self.first

    def answer(self, first_byte, at):
        self.put(first_byte)
        self.put(2)
        self.put(self.packet[at])
        self.put(self.packet[at + 1])

    # ---- the broker

    def take(self):
        """Handle a packet. All packets are shorter than 128 bytes."""
        packet = self.packet
        kind = packet[0] & 0xF0
        if kind == 0x30:
            self.take_publish(packet[0] >> 1 & 3)
        elif kind == 0x40:
            self.acknowledged += 1
        elif kind == 0x60:
            self.released += 1
            self.answer(0x70, 2)
        elif kind == 0x10:
            for byte in CONNACK:
                self.put(byte)
        elif kind == 0x80:
            self.put(0x90)
            self.put(4)
            self.put(packet[2])
            self.put(packet[3])
            self.put(0)
            self.put(1)
        else:
            assert packet[0] == 0xC0 or packet[0] == 0xE0, packet[0]

    def take_publish(self, qos):
        packet = self.packet
        at = 4 + (packet[2] << 8 | packet[3])
        if qos:
            self.answer(0x40 if qos == 1 else 0x50, at)
            at += 2
        at += 1 + packet[at]
        assert at + 2 == self.have, "size of a message"
        at = packet[at] << 8 | packet[at + 1]
        self.arrived[at] += 1

    def send(self):
        """Send a message to the client."""
        if self.sent - self.acknowledged < 4:
            self.is_sending = True  # the scheduled function must not write to `inbox` now
            self.sent += 1
            self.message[6] = self.sent >> 8 & 255
            self.message[7] = self.sent & 255 or 1
            for byte in self.message:
                self.put(byte)
            self.is_sending = False


class Program:
    """The main program publishes and polls. The scheduled function publishes, too."""

    def __init__(self):
        self.broker = broker = Broker()
        connection.poll = lambda: broker
        connection.ticks_ms = broker.ticks_ms
        connection.sleep_ms = None  # the connection is never lost
        self.client = client = Client("broker", transport=broker.connect, aliases=1, inflight=8)
        self.topic = client.topic("out/aliased")
        self.payload = bytearray(2)
        self.calls = self.number = self.handled = self.next_call = 0
        self.seed = 1
        self.accepted = [0, 0, 0]
        self.refused = [0, 0, 0]
        self.is_stopped = False
        self.scheduled = self.publish_scheduled  # bound once
        client.subscribe("in", self.handle, 1)
        client.connect()
        client.poll(5)
        self.publish(0)

    def publish(self, qos):
        """Publish the next number. A scheduled function may call this between any two instructions."""
        self.payload[0] = self.number >> 8
        self.payload[1] = self.number & 255
        self.number += 1
        if self.client.publish(self.topic, self.payload, qos):
            self.accepted[qos] += 1
        else:
            self.number -= 1
            self.refused[qos] += 1

    def publish_scheduled(self, _):
        self.calls += 1
        if self.calls >= self.next_call and not self.broker.is_sending:
            # at random distances: otherwise a QoS could meet the loop of the program always at the same place
            self.seed = self.seed * 1103 + 12345 & 0xFFFF
            self.next_call = self.calls + 4 + (self.seed >> 12)
            self.publish((self.seed >> 4) % 3)
        if not self.is_stopped:
            micropython.schedule(self.scheduled, None)

    def handle(self, message):
        if message.equals(b"hi"):
            self.handled += 1

    def run(self, calls):
        """Run until the scheduled function was called `calls` times more."""
        calls += self.calls
        self.is_stopped = False
        micropython.schedule(self.scheduled, None)
        while self.calls < calls:
            self.broker.send()
            self.client.poll(2)
        self.is_stopped = True
        while self.client.session.outbox.count or self.broker.first != self.broker.last:
            self.client.poll(2)

    def check(self):
        broker = self.broker
        assert sum(self.accepted) == self.number
        for i in range(self.number):
            assert broker.arrived[i] == 1, (i, broker.arrived[i])
        assert broker.arrived[self.number] == 0
        assert broker.released == self.accepted[2]
        assert self.handled == broker.sent == broker.acknowledged
        assert not self.client.session.is_busy and self.client.is_connected


def main():
    counter = getattr(micropython, "mem_total", gc.mem_alloc)
    program = Program()
    program.run(_WARM_UP)
    gc.collect()
    gc.disable()
    before = counter()
    program.run(_CALLS)
    after = counter()
    gc.enable()
    program.check()
    print("calls", program.calls)
    for qos in range(3):
        print("qos", qos, program.accepted[qos], program.refused[qos])
    print("received", program.handled)
    print("allocated", after - before)


if __name__ == "__main__":
    main()
