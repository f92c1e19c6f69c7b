"""The NTP client against scripted time servers, on a simulated clock, with the real resolver."""

import struct
import sys

from simulated_dns import SimulatedNetwork, answer

from app import ntp, ntp_query
from umqtt5 import dns

NOW = 1790000000  # in 2026
DAY = 86400000
WRAP = 1 << 30  # ticks wrap here on a board
DNS_SERVER = ("10.0.0.1", 53)


class Network:
    """A `socket` module with a time server for each address; None is a server that does not answer."""

    AF_INET = SOCK_DGRAM = 0

    def __init__(self, **servers):
        self.servers = {address_of(name): server for name, server in servers.items()}
        self.asked = []  # addresses of the servers

    def getaddrinfo(self, host, port):
        assert port == 123 and host.replace(".", "").isdigit(), "getaddrinfo would block"
        self.asked.append(host)
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


def address_of(name):
    return "192.0.2.%d" % (ord(name) - 96)


def server(seconds, first=0x24, stratum=1, timestamp=None):
    """Return a time server: a function that returns the response to a request."""

    def respond(request):
        since_1900 = (seconds + 2208988800) & 0xFFFFFFFF
        head = bytes([first, stratum]) + bytes(22)
        return head + (timestamp or request[40:48]) + bytes(8) + struct.pack("!II", since_1900, 0)

    return respond


def make_client(names=None, **servers):
    """Return a client of these servers by address, the times that it sets, and the network."""
    ntp_query.socket = network = Network(**servers)
    ntp.release_modules = lambda *names: None  # modules that are loaded again would use the real network
    set_to = []
    names = names or [address_of(name) for name in sorted(servers)]
    return ntp.NtpClient(names, set_to.append), set_to, network


def use_dns(answers):
    """Let the DNS server give these answers; returns the simulated network, whose `queries` are counted."""
    network = SimulatedNetwork({DNS_SERVER: answers} if answers else {DNS_SERVER: lambda query: None})
    dns.servers = [DNS_SERVER]
    return network


def test_the_clock_is_set_and_set_again_after_a_day():
    client, set_to, network = make_client(a=server(NOW))
    assert not client.run(0)
    assert client.run(10) and client.is_set
    assert set_to == [NOW]
    assert not client.run(1000) and len(network.asked) == 1
    client.run(DAY // 2)
    assert not client.run(DAY) and len(network.asked) == 1
    client.run(DAY + 10)
    assert network.asked == ["192.0.2.1", "192.0.2.1"]


def test_the_clock_is_set_after_2036():
    client, set_to, network = make_client(a=server(0x100000000 - 2208988800 + 5))
    client.run(0)
    assert client.run(10)
    assert set_to == [2085978501]


def test_the_next_server_is_asked_if_one_does_not_answer():
    client, set_to, network = make_client(a=None, b=server(NOW))
    client.run(0)
    assert not client.run(2999) and network.asked == ["192.0.2.1"]
    client.run(3000)
    client.run(3001)
    assert network.asked == ["192.0.2.1", "192.0.2.2"]
    assert client.run(3002) and set_to == [NOW]


def test_if_no_server_answers_the_list_is_tried_once_a_minute():
    client, set_to, network = make_client(a=None, b=None)
    for now in range(0, 120000, 500):
        client.run(now)
    assert not client.is_set and not set_to
    assert network.asked[:2] == ["192.0.2.1", "192.0.2.2"] and len(network.asked) == 4


def test_the_pauses_hold_after_any_up_time():
    """The difference of ticks more than 6 days apart is ambiguous: the pause was lost on some days."""
    for idle in (0, 1, 2, 5, 7, 11, 13, 30):  # days without a network, or between two calls
        for is_answered in (False, True):
            client, set_to, network = make_client(a=server(NOW) if is_answered else None)
            now = 0x3FFFF000
            for _ in range(20):
                client.run(now % WRAP)
                now += 1000
            now += idle * DAY
            network.asked.clear()
            for _ in range(600):  # ten minutes
                client.run(now % WRAP)
                now += 1000
            assert len(network.asked) <= (1 if is_answered else 10), (idle, is_answered, network.asked)
            assert is_answered or len(network.asked) >= 9
            for _ in range(1500):  # a request is due within a day, whatever the pause was
                client.run(now % WRAP)
                now += 60000
            assert network.asked


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


def test_a_server_that_only_sends_wrong_responses_is_given_up():
    client, set_to, network = make_client(a=lambda request: b"short", b=server(NOW))
    client.run(0)
    for now in range(10, 3020, 10):
        if client._query:
            client._query._socket._response = client._query._socket._response or b"short"
        client.run(now)
    assert network.asked == ["192.0.2.1", "192.0.2.2"]


# ---- names


def test_a_name_is_looked_up_without_blocking():
    network = use_dns(answer("192.0.2.1"))
    client, set_to, servers = make_client(["time.example"], a=server(NOW))
    assert not client.run(0) and not servers.asked  # the query is on its way
    assert not client.run(5) and servers.asked == ["192.0.2.1"]
    assert client.run(10) and set_to == [NOW]
    assert len(network.queries) == 1 and not network.system_calls


def test_if_dns_is_silent_each_name_takes_a_few_seconds_and_the_list_is_tried_once_a_minute():
    network = use_dns(None)
    client, set_to, servers = make_client(["a.example", "b.example"])
    for now in range(0, 600000, 1000):
        network.now = now
        client.run(now)
    assert not servers.asked and not network.system_calls
    # five queries a name in 5 s, then a pause of a minute
    assert 60 <= len(network.queries) <= 100, len(network.queries)


def test_after_dns_is_back_the_clock_is_set_within_about_a_minute():
    network = use_dns(None)
    client, set_to, servers = make_client(["time.example"], a=server(NOW))
    for now in range(0, 300000, 500):
        network.now = now
        if now == 100000:
            network.servers = {DNS_SERVER: answer("192.0.2.1")}
        if client.run(now):
            break
    assert set_to == [NOW] and now < 170000


def test_a_name_that_is_not_valid_is_skipped():
    client, set_to, network = make_client(
        ["http://time.example", "", "1.2.3.999", "192.0.2.1"], a=server(NOW)
    )
    network.servers["1.2.3.999"] = None
    for now in range(0, 20000, 100):
        if client.run(now):
            break
    assert set_to == [NOW]


def test_code_is_unloaded_when_it_is_not_needed():
    """The broker is given by address, or by name: then the client needs the resolver as well."""
    from app.node.modules import release_modules

    names = ("app.ntp_query", "umqtt5.dns", "umqtt5.optional.dns_message")
    modules = dict(sys.modules)
    package = sys.modules["umqtt5"]
    for keep_resolver, left in ((False, []), (True, list(names[1:]))):
        use_dns(answer("192.0.2.1"))
        client, set_to, servers = make_client(["time.example"], a=server(NOW))
        client._keep_resolver = keep_resolver
        ntp.release_modules = release_modules
        try:
            for now in (0, 5):
                assert not client.run(now)
            assert all(name in sys.modules for name in names)
            assert client.run(10) and [name for name in names if name in sys.modules] == left
            assert ("dns" in package.__dict__) == keep_resolver
        finally:
            sys.modules.update(modules)
            package.dns = dns
            sys.modules["app"].ntp_query = ntp_query


def test_without_memory_for_the_resolver_the_device_runs_on():
    use_dns(answer("192.0.2.1"))
    client, set_to, servers = make_client(["time.example"], a=server(NOW))
    lookup = dns.Lookup

    def fail(*arguments):
        raise MemoryError

    dns.Lookup = fail
    try:
        for now in range(0, 30000, 1000):
            assert not client.run(now)
    finally:
        dns.Lookup = lookup
    for now in range(30000, 70000, 1000):
        client.run(now)
    assert set_to == [NOW]
