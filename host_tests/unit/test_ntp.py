"""The NTP client against scripted time servers, on a simulated clock."""

import os
import struct
import sys

if sys.platform == "webassembly":  # this VM has no socket module; the tests replace it
    sys.modules["socket"] = os

from app import ntp

NOW = 1790000000  # in 2026


class Network:
    """A `socket` module with a time server for each name; None is a server that does not answer."""

    AF_INET = SOCK_DGRAM = 0

    def __init__(self, **servers):
        self.servers = servers
        self.asked = []

    def getaddrinfo(self, host, port):
        assert port == 123
        self.asked.append(host)
        if host not in self.servers:
            raise OSError(-2)
        return [(0, 0, 0, "", (host, port))]

    def socket(self, family, kind):
        return Socket(self)


class Socket:
    def __init__(self, network):
        self._network = network

    def setblocking(self, on):
        assert on is False

    def connect(self, address):
        self._server = self._network.servers[address[0]]

    def send(self, data):
        assert len(data) == 48 and data[0] == 0x23
        self._response = self._server(data) if self._server else None

    def recv(self, n):
        if self._response is None:
            raise OSError(11)
        data, self._response = self._response, None
        return data[:n]

    def close(self):
        pass


def server(seconds, first=0x24, stratum=1, timestamp=None):
    """Return a time server: a function that returns the response to a request."""

    def respond(request):
        since_1900 = (seconds + 2208988800) & 0xFFFFFFFF
        head = bytes([first, stratum]) + bytes(22)
        return head + (timestamp or request[40:48]) + bytes(8) + struct.pack("!II", since_1900, 0)

    return respond


def make_client(**servers):
    """Return a client of these servers and one unknown host, the times that it sets, and the network."""
    ntp.socket = network = Network(**servers)
    ntp.unix_time = lambda: 0  # the clock was never set
    set_to = []
    return ntp.NtpClient(sorted(servers) + ["nowhere"], set_to.append), set_to, network


def test_the_clock_is_set_and_set_again_after_a_day():
    client, set_to, network = make_client(a=server(NOW))
    assert not client.run(0)
    assert client.run(10) and client.is_set
    assert set_to == [NOW]
    assert not client.run(1000) and network.asked == ["a"]
    client.run(86400000 + 10)
    assert network.asked == ["a", "a"]


def test_the_clock_is_set_after_2036():
    client, set_to, network = make_client(a=server(0x100000000 - 2208988800 + 5))
    client.run(0)
    assert client.run(10)
    assert set_to == [2085978501]


def test_the_next_server_is_asked_if_one_does_not_answer():
    client, set_to, network = make_client(a=None, b=server(NOW))
    client.run(0)
    assert not client.run(2999) and network.asked == ["a"]
    client.run(3000)
    client.run(3001)
    assert network.asked == ["a", "b"]
    assert client.run(3002) and set_to == [NOW]


def test_if_no_server_answers_the_list_is_tried_once_a_minute():
    client, set_to, network = make_client(a=None)
    for now in range(0, 120000, 500):
        client.run(now)
    assert not client.is_set and not set_to
    assert network.asked[:2] == ["a", "nowhere"] and len(network.asked) == 4


def test_wrong_responses_are_ignored():
    for wrong in (
        server(NOW, timestamp=b"not ours"),
        server(NOW, first=0xE4),  # the server's clock is not synchronized
        server(NOW, stratum=0),  # kiss-o'-death
        server(NOW, first=0x23),  # a request
        server(1000000000),  # a time before this code was written
        lambda request: b"short",
    ):
        client, set_to, network = make_client(a=wrong)
        client.run(0)
        assert not client.run(10) and not set_to
