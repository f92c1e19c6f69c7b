"""A simulated clock and a scripted broker round the real client, its loop and its back-off."""

from helper import CONNACK
from umqtt5.core import client as module
from umqtt5.core.client import Client

REAL = module.ticks_ms, module.sleep_ms, module.poll, module.getrandbits


def real_clock():
    """Undo what a world did to the client's module: the next client has the real clock."""
    module.ticks_ms, module.sleep_ms, module.poll, module.getrandbits = REAL


class Stream:
    """One connection: the broker's bytes in `inbox`, the client's in `written`."""

    def __init__(self, world):
        self.world = world
        self.inbox = world.greeting
        self.written = b""
        self.writes = 0
        self.closed = False
        self.gone = False  # the broker has closed
        self.stalled = False  # the broker reads no more

    def readinto(self, buf, n):
        if not self.inbox:
            return 0 if self.gone else None
        n = min(n, len(self.inbox), self.world.piece)
        buf[:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return n

    def write(self, buf, at, n):
        if self.gone:
            raise OSError(104, "reset")
        if self.stalled:
            return None
        data = bytes(buf[at : at + n])
        self.written += data
        self.writes += 1
        if data == b"\xc0\x00":
            self.inbox += b"\xd0\x00"  # PINGRESP
        return n

    def close(self):
        self.closed = True


class Poller:
    """`select.poll` on the world's clock."""

    def __init__(self):
        self.stream = None

    def register(self, stream, events):
        self.stream = stream
        self.events = events

    def modify(self, stream, events):
        self.events = events

    def unregister(self, stream):
        self.stream = None

    def ipoll(self, ms):
        stream = self.stream
        readable = self.events & 1 and (stream.inbox or stream.gone)
        writable = self.events & 4 and stream.world.reachable and not stream.stalled
        if readable or writable:
            return [(stream, 5)]
        stream.world.sleep(ms)
        return []


class World:
    """`now` in ms. The broker is `reachable`, `there`, and answers a connection with `greeting`."""

    def __init__(self, **options):
        self.now = 0
        self.there = self.reachable = True
        self.greeting = CONNACK
        self.piece = 1 << 20  # bytes that arrive at once
        self.streams = []
        self.times = []  # when a connection was tried
        module.ticks_ms = lambda: self.now & 0x3FFFFFFF
        module.sleep_ms = self.sleep
        module.poll = Poller
        options.setdefault("client_id", "c")
        self.client = Client("broker", transport=self.connect, **options)

    def sleep(self, ms):
        assert 0 <= ms < 1 << 30, ms
        self.now += max(1, ms)

    def connect(self, host, port):
        self.times.append(self.now)
        if not self.there:
            raise OSError(111, "refused")
        self.streams.append(Stream(self))
        return self.streams[-1]

    @property
    def stream(self):
        return self.streams[-1]
