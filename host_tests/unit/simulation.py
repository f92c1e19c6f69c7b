"""Simulated clock and network for the real client, including its poll loop and reconnect back-off."""

from helper import CONNACK
from umqtt5.core import connection as module
from umqtt5.core.client import Client

_MAX_ROUNDS = 10_000

REAL_CLOCK = module.ticks_ms, module.sleep_ms, module.poll, module.getrandbits


def restore_real_clock():
    """Restore the real clock and poller in the client's module, which `Simulation` replaced."""
    module.ticks_ms, module.sleep_ms, module.poll, module.getrandbits = REAL_CLOCK


class SimulatedStream:
    """One connection: bytes from the broker are in `inbox`, bytes from the client in `written`."""

    def __init__(self, sim):
        self.sim = sim
        self.inbox = sim.connect_reply
        self.written = b""
        self.writes = 0
        self.closed = False
        self.closed_by_broker = False  # the broker has closed the connection
        self.is_stalled = False  # the broker no longer reads

    def readinto(self, buf, n):
        if not self.inbox:
            return 0 if self.closed_by_broker else None
        n = min(n, len(self.inbox), self.sim.read_size)
        buf[:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return n

    def write(self, buf, at, n):
        if self.closed_by_broker:
            raise OSError(104, "reset")
        if self.is_stalled:
            return None
        data = bytes(buf[at : at + n])
        self.written += data
        self.writes += 1
        if data == b"\xc0\x00":
            self.inbox += b"\xd0\x00"  # PINGRESP
        elif data[-3:] == b"\xe0\x01\x93":  # DISCONNECT: Receive Maximum exceeded
            self.closed_by_broker = True
        return n

    def close(self):
        self.closed = True


class Poller:
    """Replacement for `select.poll` that waits on the simulated clock."""

    def __init__(self, sim):
        self.sim = sim
        self.stream = None
        self.rounds = 0  # successive rounds in which the stream was ready and its bytes stayed the same
        self.sizes = None

    def register(self, stream, events):
        assert self.stream is None, "the client polls one stream at a time"
        self.stream = stream
        self.events = events

    def modify(self, stream, events):
        self.events = events

    def unregister(self, stream):
        self.stream = None

    def ipoll(self, ms):
        stream = self.stream
        if stream is None:
            self.sim.sleep(ms)
            return []
        readable = self.events & 1 and (stream.inbox or stream.closed_by_broker)
        writable = self.events & 4 and stream.sim.is_writable and not stream.is_stalled
        if readable or writable:
            self.check_progress(len(stream.inbox), len(stream.written))
            return [(stream, 5)]
        stream.sim.sleep(ms)
        return []

    def check_progress(self, *sizes):
        """Fail if the client polls a ready stream again and again, and neither reads nor writes: it hangs."""
        self.rounds = self.rounds + 1 if sizes == self.sizes else 0
        self.sizes = sizes
        assert self.rounds < _MAX_ROUNDS, "the client hangs"


class Simulation:
    """A client on a simulated clock (`now`, in ms) and network.

    A connection is refused unless `broker_listens`; a stream accepts data if `is_writable`.
    Each connection starts with the bytes in `connect_reply`.
    """

    def __init__(self, **options):
        self.now = 0
        self.broker_listens = self.is_writable = True
        self.connect_reply = CONNACK
        self.read_size = 1 << 20  # maximum number of bytes one read returns
        self.streams = []
        self.connect_times = []  # times of all connection attempts, in ms
        module.ticks_ms = lambda: self.now & 0x3FFFFFFF
        module.sleep_ms = self.sleep
        module.poll = lambda: Poller(self)
        options.setdefault("client_id", "c")
        self.client = Client("broker", transport=self.connect, **options)

    def sleep(self, ms):
        assert 0 <= ms < 1 << 30, ms
        self.now += max(1, ms)

    def connect(self, host, port):
        self.connect_times.append(self.now)
        if not self.broker_listens:
            raise OSError(111, "refused")
        self.streams.append(SimulatedStream(self))
        return self.streams[-1]

    @property
    def stream(self):
        return self.streams[-1]
