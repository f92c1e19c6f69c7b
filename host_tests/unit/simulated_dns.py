"""Simulated network for `umqtt5.dns`: a `socket` module with scripted DNS servers and a clock.

`SimulatedNetwork` replaces module attributes of `dns`. `restore_real_network` restores them.
"""

import os
import sys
from random import getrandbits

if sys.platform == "webassembly" and "socket" not in sys.modules:
    sys.modules["socket"] = os  # this VM has no socket module; the simulation replaces it

from simulation import Simulation

from umqtt5 import dns, tcp
from umqtt5.optional import system_names

if sys.platform == "webassembly":  # it has no `os.urandom`
    dns._random = lambda n: bytes([getrandbits(8) for _ in range(n)])

_REAL = dns.socket, dns.ticks_ms, dns.SystemQuery, dns.mdns_server


def restore_real_network():
    """Restore the attributes of `dns` that a `SimulatedNetwork` replaced."""
    dns.socket, dns.ticks_ms, dns.SystemQuery, dns.mdns_server = _REAL
    system_names.socket = tcp.socket = dns.socket
    dns.servers = None
    dns._cache.clear()
    sys.modules.pop("network", None)


def wire(name):
    """Return a name in the format of DNS messages."""
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


def u16(number):
    return bytes((number >> 8, number & 255))


def record(owner, kind, data, ttl=60, klass=1):
    """Return a resource record; `owner` is encoded, for example b"\\xc0\\x0c", the name in the question."""
    return (
        owner
        + u16(kind)
        + u16(klass)
        + b"\0"
        + bytes((ttl >> 16,))
        + u16(ttl & 0xFFFF)
        + u16(len(data))
        + data
    )


def ipv4(text):
    return bytes(int(part) for part in text.split("."))


def response(query, *records, code=0, flags=0x8180, count=None, question=None):
    """Return the response to a query, with these records in its answer section."""
    count = len(records) if count is None else count
    head = query[:2] + u16(flags | code) + b"\0\1" + u16(count) + b"\0\0\0\0"
    return head + (query[12:] if question is None else question) + b"".join(records)


def answer(*addresses, ttl=60):
    """Return a server that answers each query with these addresses."""
    return lambda query: response(query, *[record(b"\xc0\x0c", 1, ipv4(a), ttl) for a in addresses])


def refuse(code):
    """Return a server that answers each query with this response code."""
    return lambda query: response(query, code=code)


class UdpSocket:
    """A UDP socket. For the poller of `Simulation` it is a stream with an `inbox`."""

    closed_by_broker = is_stalled = False
    written = b""

    def __init__(self, network, family):
        self.sim = network
        self.family = family
        self.inbox = []  # (data, source)
        self.port = None
        self.closed = False

    def setblocking(self, on):
        assert on is False

    def bind(self, address):
        ip, self.port = self.sim.unpack(address)
        assert ip == "0.0.0.0" and self.family == self.sim.AF_INET
        if self.port in self.sim.used_ports:
            raise OSError(98)

    def sendto(self, data, address):
        address = self.sim.unpack(address)
        self.sim.queries.append((self.sim.now, address, bytes(data)))
        if self.sim.send_error:
            raise OSError(self.sim.send_error, "unreachable")
        server = self.sim.servers.get(address)
        answers = server(bytes(data)) if server else None
        for data in [answers] if isinstance(answers, bytes) else answers or ():
            # a pair is (data, source)
            self.inbox.append(data if isinstance(data, tuple) else (data, address))

    def recvfrom(self, n):
        assert not self.closed
        if not self.inbox:
            raise OSError(11)
        data, source = self.inbox.pop(0)
        return data[:n], self.sim.pack(source)

    def close(self):
        self.closed = True


class SimulatedNetwork:
    """The network. It is also the `socket` module of `dns`.

    `servers` are functions by (address, port): they get a query, and return a response, a list of responses,
    or None. A response is bytes, or (bytes, source).
    """

    AF_INET, SOCK_STREAM, SOCK_DGRAM = 2, 1, 2
    is_writable = True

    def __init__(self, servers=None, is_packed=False):
        self.now = 5000
        self.servers = servers or {}
        self.is_packed = is_packed  # whether socket addresses are bytes, as on the unix port
        self.queries = []  # (time, address, query)
        self.sockets = []
        self.used_ports = ()
        self.send_error = 0
        self.system = None  # addresses by name that `getaddrinfo` knows; None: it must not be called
        self.system_calls = []
        dns.socket = system_names.socket = self
        dns.ticks_ms = lambda: self.now & 0x3FFFFFFF
        dns.SystemQuery = None
        dns.servers = ["10.0.0.1"]
        dns._cache.clear()

    def pack(self, address):
        if not self.is_packed:
            return address
        return b"\x02\0" + u16(address[1]) + ipv4(address[0]) + bytes(8)

    def unpack(self, address):
        if not self.is_packed:
            return address
        address = bytes(address)
        return "%d.%d.%d.%d" % tuple(address[4:8]), address[2] << 8 | address[3]

    def getaddrinfo(self, host, port, family=0, kind=0):
        if ":" not in host and not host.replace(".", "").isdigit():
            self.system_calls.append(host)
            assert self.system is not None, "getaddrinfo(%s)" % host
            if host not in self.system:
                raise OSError(-2)
            host = self.system[host]
        return [(self.AF_INET, 1, 0, "", self.pack((host, port)))]

    def socket(self, family, kind):
        assert kind == self.SOCK_DGRAM
        self.sockets.append(UdpSocket(self, family))
        return self.sockets[-1]

    def sleep(self, ms):
        assert ms >= 0
        self.now += max(1, ms)

    def run(self, lookup):
        """Run a lookup to its end; returns its address. Raises OSError."""
        while not lookup.address:
            wait = lookup.step(self.now & 0x3FFFFFFF)
            if lookup.address:
                break
            assert 0 < wait <= 1000 and lookup.pollable
            if not lookup.pollable.inbox:
                self.now += wait
        assert all(sock.closed for sock in self.sockets)
        return lookup.address

    def look_up(self, name, timeout=10000):
        """Look up a name; returns its address. Raises OSError."""
        return self.run(dns.Lookup(name, timeout))


class NamedBroker(Simulation):
    """A simulated client and broker whose transport looks up the host name, as the TCP transport does."""

    def __init__(self, network, **options):
        Simulation.__init__(self, **options)
        self.network = network
        self.addresses = []  # addresses that the transport connected to
        network.sleep = self.sleep
        dns.ticks_ms = lambda: self.now & 0x3FFFFFFF

    def connect(self, host, port):
        host = dns.resolve(host)
        self.addresses.append(host)
        return Simulation.connect(self, host, port)
