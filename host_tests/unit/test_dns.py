"""Name lookups: servers, retransmission, cache, last known address, and the client that waits for them."""

import os
import sys
from errno import EHOSTUNREACH, EINVAL, ETIMEDOUT

from simulated_dns import (
    NamedBroker,
    SimulatedNetwork,
    answer,
    ipv4,
    record,
    refuse,
    response,
    u16,
    wire,
)

from helper import raises
from umqtt5 import dns, tcp
from umqtt5.core.states import LINK_DOWN, LINK_OPENING
from umqtt5.optional import system_names

A = ("10.0.0.1", 53)
B = ("10.0.0.2", 53)
MDNS = ("224.0.0.251", 5353)


def times(network):
    """Return the times of the queries, in ms after the first one."""
    return [time - network.queries[0][0] for time, _, _ in network.queries]


def asked(network):
    return [address for _, address, _ in network.queries]


# ---- servers


def test_a_name_is_looked_up():
    for is_packed in (False, True):
        network = SimulatedNetwork({A: answer("192.0.2.7")}, is_packed)
        assert network.look_up("Broker.Example") == "192.0.2.7"
        ((_, address, query),) = network.queries
        assert address == A and query[12:] == wire("broker.example") + b"\0\1\0\1"


def test_addresses_and_localhost_are_not_looked_up():
    network = SimulatedNetwork()
    for host in ("192.0.2.7", "255.255.255.255", "::1", "fe80::1%wlan0"):
        assert dns.Lookup(host).address == host == dns.resolve(host)
    assert dns.resolve("localhost") == dns.resolve("LOCALHOST.") == "127.0.0.1"
    assert not network.queries and not network.sockets


def test_identifiers_and_source_ports_are_random():
    network = SimulatedNetwork()
    ids, ports = set(), set()
    for _ in range(30):
        lookup = dns.Lookup("a.example")
        lookup.step(network.now)
        lookup.close()
        ids.add(network.queries[-1][2][:2])
        ports.add(network.sockets[-1].port)
    assert len(ids) > 25 and len(ports) > 25
    assert all(49152 <= port <= 65535 for port in ports)


def test_a_port_in_use_is_not_chosen():
    network = SimulatedNetwork({A: answer("192.0.2.7")})
    network.used_ports = range(49152, 65536, 2)
    assert network.look_up("a.example") == "192.0.2.7"
    network.used_ports = range(65536)
    assert network.look_up("b.example") == "192.0.2.7"


def test_a_query_is_repeated_each_second():
    network = SimulatedNetwork()
    error = raises(OSError, network.look_up, "broker.example")
    assert error.errno == ETIMEDOUT and "broker.example: no DNS server answered" in str(error)
    assert times(network) == list(range(0, 10000, 1000)) and network.now == 15000
    assert network.sockets[0].closed


def test_the_timeout_limits_the_lookup():
    for timeout in (1, 900, 1000, 2500):
        network = SimulatedNetwork()
        raises(OSError, network.look_up, "broker.example", timeout)
        assert network.now == 5000 + timeout


def test_the_clock_may_wrap_during_a_lookup():
    network = SimulatedNetwork()
    network.now = (1 << 30) - 1500
    assert raises(OSError, network.look_up, "broker.example").errno == ETIMEDOUT
    assert network.now == (1 << 30) + 8500 and len(network.queries) == 10


def test_the_next_server_is_asked_if_one_does_not_answer():
    network = SimulatedNetwork({B: answer("192.0.2.7")})
    dns.servers = ["10.0.0.1", "10.0.0.2"]
    assert network.look_up("a.example") == "192.0.2.7"
    assert asked(network) == [A, B] and times(network) == [0, 1000]


def test_a_server_has_a_port_of_its_own():
    network = SimulatedNetwork({("10.0.0.9", 5300): answer("192.0.2.7")})
    dns.servers = [("10.0.0.9", 5300)]
    assert network.look_up("a.example") == "192.0.2.7"


def test_a_late_answer_of_an_earlier_server_is_used():
    network = SimulatedNetwork({B: lambda query: [(answer("192.0.2.7")(query), A)]})
    dns.servers = ["10.0.0.1", "10.0.0.2"]
    assert network.look_up("a.example") == "192.0.2.7"


def test_the_next_server_is_asked_at_once_if_one_fails():
    for code in (1, 2, 4, 5, 9):
        network = SimulatedNetwork({A: refuse(code), B: answer("192.0.2.7")})
        dns.servers = ["10.0.0.1", "10.0.0.2"]
        assert network.look_up("a.example") == "192.0.2.7"
        assert asked(network) == [A, B] and times(network) == [0, 0]


def test_if_all_servers_fail_the_error_says_how():
    for code, word in ((1, "FORMERR"), (2, "SERVFAIL"), (4, "NOTIMP"), (5, "REFUSED"), (9, "error 9")):
        network = SimulatedNetwork({A: refuse(code), B: refuse(code)})
        dns.servers = ["10.0.0.1", "10.0.0.2"]
        error = raises(OSError, network.look_up, "a.example")
        assert error.errno == EHOSTUNREACH and "a.example: DNS server 10.0.0.2" in str(error)
        assert word in str(error) and network.now == 5000


def test_one_server_fails_and_the_other_one_is_silent():
    network = SimulatedNetwork({A: refuse(2)})
    dns.servers = ["10.0.0.1", "10.0.0.2"]
    assert "SERVFAIL" in str(raises(OSError, network.look_up, "a.example"))
    assert asked(network)[:3] == [A, B, B] and times(network)[:3] == [0, 0, 1000]


def test_a_name_that_does_not_exist_is_an_error_at_once():
    network = SimulatedNetwork({A: refuse(3), B: answer("192.0.2.66")})
    dns.servers = ["10.0.0.1", "10.0.0.2"]
    error = raises(OSError, network.look_up, "a.example")
    assert error.errno == EHOSTUNREACH and "a.example: unknown host (NXDOMAIN)" in str(error)
    assert asked(network) == [A]


def test_a_name_with_only_an_ipv6_address_is_an_error_that_says_so():
    network = SimulatedNetwork({A: lambda query: response(query, record(b"\xc0\x0c", 28, bytes(16)))})
    assert "a.example: the DNS has no IPv4 address" in str(raises(OSError, network.look_up, "a.example"))
    network.servers[A] = answer("0.0.0.0")
    assert "no IPv4 address" in str(raises(OSError, network.look_up, "a.example"))


def test_the_target_of_a_cname_is_asked_if_its_address_is_missing():
    def server(query):
        if b"\x06broker" in query:
            return response(query, record(b"\xc0\x0c", 5, wire("real.example")))
        return answer("192.0.2.7")(query)

    network = SimulatedNetwork({A: server})
    assert network.look_up("broker.example") == "192.0.2.7"
    first, second = [query for _, _, query in network.queries]
    assert second[12:] == wire("real.example") + b"\0\1\0\1" and first[:2] != second[:2]
    assert dns.resolve("broker.example") == "192.0.2.7"  # it is stored with the name that was asked


def test_a_chain_of_names_without_end_is_an_error():
    network = SimulatedNetwork()
    network.servers[A] = lambda query: response(
        query, record(b"\xc0\x0c", 5, wire("n%d.example" % len(network.queries)))
    )
    raises(OSError, network.look_up, "a.example")
    assert len(network.queries) < 12 and network.now == 5000


def test_a_network_that_is_down_is_an_error_that_says_so():
    network = SimulatedNetwork()
    network.send_error = 101
    error = raises(OSError, network.look_up, "a.example", 3000)
    assert error.errno == 101 and "Is the network up?" in str(error) and len(network.queries) == 3


def test_the_network_may_come_up_during_a_lookup():
    network = SimulatedNetwork({A: answer("192.0.2.7")})
    network.send_error = 101
    lookup = dns.Lookup("a.example")
    assert lookup.step(network.now) == 1000
    network.send_error = 0
    network.now += 1000
    lookup.step(network.now)
    lookup.step(network.now)
    assert lookup.address == "192.0.2.7"


# ---- hostile answers


def test_answers_that_are_not_valid_are_ignored():
    good = answer("192.0.2.7")
    evil = answer("192.0.2.66")

    def server(query):
        return [
            (evil(query), ("10.0.0.66", 53)),  # from another address
            (evil(query), ("10.0.0.1", 5353)),  # from another port
            evil(bytes((query[0] ^ 1,)) + query[1:]),  # another identifier
            b"",
            b"\0" * 11,
            query,
            evil(query) + bytes(600),  # too long
            evil(query)[:-1],
            good(query),
        ]

    for is_packed in (False, True):
        network = SimulatedNetwork({A: server}, is_packed)
        assert network.look_up("a.example") == "192.0.2.7" and network.now == 5000


def test_a_flood_of_wrong_answers_does_not_keep_the_caller():
    network = SimulatedNetwork({A: lambda query: [b"\0" * 12] * 1000})
    lookup = dns.Lookup("a.example")
    lookup.step(network.now)
    before = len(network.sockets[0].inbox)
    lookup.step(network.now)
    assert before - len(network.sockets[0].inbox) <= 10
    network.now += 10000
    error = raises(OSError, lookup.step, network.now)
    assert "no DNS server answered" in str(error)


def test_a_socket_that_returns_only_empty_datagrams_ends_the_lookup():
    """On ESP32 a socket is like this after it has received an empty datagram."""
    network = SimulatedNetwork({A: lambda query: [b""] * 20})
    assert "failed" in str(raises(OSError, network.look_up, "a.example"))
    assert network.sockets[0].closed


def test_no_answer_raises_anything_but_os_error():
    """Answers of random bytes after a correct header."""
    state = 7
    for i in range(150):
        junk = bytearray()
        for _ in range(i % 40):
            state = (state * 75 + 74) % 65537
            junk.append(state & 255)
        for code in (0, 0, 3):
            network = SimulatedNetwork({A: lambda q, j=bytes(junk), c=code: response(q, j, count=2, code=c)})
            try:
                network.look_up("a.example", 1500)
                raise AssertionError(junk)
            except OSError:
                pass


# ---- cache and last known address


def test_an_address_is_cached_until_its_ttl_is_over():
    network = SimulatedNetwork({A: answer("192.0.2.7", ttl=60)})
    network.look_up("a.example")
    network.now += 59000
    assert dns.resolve("A.example.") == "192.0.2.7"
    network.now += 1000
    raises(dns.LookupPending, dns.resolve, "a.example")
    assert len(network.queries) == 1


def test_a_ttl_of_0_lasts_until_the_transport_has_used_the_address():
    network = SimulatedNetwork({A: answer("192.0.2.7", ttl=0)})
    network.look_up("a.example")
    assert dns.resolve("a.example") == "192.0.2.7"
    network.now += 2000
    raises(dns.LookupPending, dns.resolve, "a.example")


def test_a_huge_ttl_is_limited_to_a_day():
    for ttl in (b"\x7f\xff\xff\xff", b"\x00\x01\x51\x81"):
        network = SimulatedNetwork(
            {A: lambda q, t=ttl: response(q, b"\xc0\x0c\0\1\0\1" + t + b"\0\4" + ipv4("192.0.2.7"))}
        )
        network.look_up("a.example")
        network.now += 86399000
        assert dns.resolve("a.example") == "192.0.2.7"
        network.now += 1000
        raises(dns.LookupPending, dns.resolve, "a.example")


def test_a_name_is_looked_up_again_after_three_uses_of_its_address():
    network = SimulatedNetwork({A: answer("192.0.2.7", ttl=86400)})
    network.look_up("a.example")
    uses = 1
    while dns.Lookup("a.example").address:
        uses += 1
    assert uses == 3


def test_several_addresses_are_used_in_turn():
    network = SimulatedNetwork({A: answer("192.0.2.1", "192.0.2.2", "192.0.2.3")})
    network.look_up("a.example")
    found = [dns.resolve("a.example") for _ in range(5)]
    assert found == ["192.0.2.2", "192.0.2.3", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    network.now += 60000  # a new lookup does not begin with the address that was used last
    assert network.look_up("a.example") == "192.0.2.1"
    network.now += 60000
    assert network.look_up("a.example") == "192.0.2.2"


def test_the_last_address_is_used_if_the_server_is_silent():
    network = SimulatedNetwork({A: answer("192.0.2.7")})
    network.look_up("a.example")
    network.servers = {}
    network.now += 3_600_000
    start = network.now
    assert network.look_up("a.example") == "192.0.2.7" and network.now - start == 2000
    assert dns.resolve("a.example") == "192.0.2.7"  # for the transport that is called now
    network.now += 2000
    start = network.now
    assert network.look_up("a.example", 1000) == "192.0.2.7" and network.now - start == 500
    network.now += 2000
    network.servers = {A: answer("192.0.2.8")}  # the server is back, and the address has changed
    assert network.look_up("a.example") == "192.0.2.8"


def test_the_last_address_is_used_at_once_if_all_servers_fail():
    network = SimulatedNetwork({A: answer("192.0.2.7")})
    network.look_up("a.example")
    network.now += 60000
    for code in (2, 5):
        network.servers = {A: refuse(code)}
        start = network.now
        assert network.look_up("a.example") == "192.0.2.7" and network.now == start
        network.now += 2000


def test_the_last_address_is_used_if_the_network_reports_no_server():
    network = SimulatedNetwork({A: answer("192.0.2.7")})
    network.look_up("a.example")
    network.now += 60000
    dns.servers = []
    assert dns.Lookup("a.example").address == "192.0.2.7"


def test_the_last_address_is_not_used_if_the_name_does_not_exist():
    network = SimulatedNetwork({A: answer("192.0.2.7")})
    network.look_up("a.example")
    network.now += 60000
    network.servers = {A: refuse(3)}
    assert "NXDOMAIN" in str(raises(OSError, network.look_up, "a.example"))


def test_addresses_can_be_remembered_across_a_restart():
    network = SimulatedNetwork()
    dns.remember("A.example", ["192.0.2.7", "192.0.2.8"])
    raises(dns.LookupPending, dns.resolve, "a.example")  # the servers are asked nevertheless
    assert network.look_up("a.example") == "192.0.2.7" and len(network.queries) == 2
    raises(ValueError, dns.remember, "a..b", ["192.0.2.7"])
    for addresses in ([], [""], ["192.0.2.7", "x"], None):
        raises(ValueError, dns.remember, "b.example", addresses)


def test_the_first_step_never_ends_a_lookup():
    """The client needs `pollable` after the first step."""
    network = SimulatedNetwork()
    dns.remember("a.example", ["192.0.2.7"])
    lookup = dns.Lookup("a.example", 1)
    assert lookup.step(network.now) == 1 and lookup.pollable and not lookup.address
    network.now += 1
    assert lookup.step(network.now) == 0 and lookup.address == "192.0.2.7"


def test_the_cache_keeps_a_limited_number_of_names():
    network = SimulatedNetwork({A: answer("192.0.2.7")})
    for i in range(20):
        network.look_up("n%d.example" % i)
        network.now += 10
    assert len(dns._cache) == 8 and wire("n19.example") in dns._cache and wire("n12.example") in dns._cache


# ---- multicast DNS


def test_a_name_in_local_is_asked_by_multicast():
    def device(query):
        assert query[2:4] == b"\0\0" and query.endswith(b"\0\1\x80\1")
        return [(answer("192.168.1.9")(query), ("192.168.1.9", 5353))]

    for is_packed in (False, True):
        network = SimulatedNetwork({MDNS: device}, is_packed)
        dns.servers = []
        assert network.look_up("Broker.local") == "192.168.1.9"
        assert asked(network) == [MDNS]


def test_a_multicast_answer_from_another_port_is_ignored():
    network = SimulatedNetwork({MDNS: lambda q: [(answer("192.168.1.66")(q), ("192.168.1.9", 53))]})
    dns.servers = []
    error = raises(OSError, network.look_up, "broker.local")
    assert "broker.local: no device in this network answered (mDNS)" in str(error)


def test_a_multicast_answer_for_another_name_is_ignored():
    other = record(wire("other.local"), 1, ipv4("192.168.1.66"), klass=0x8001)
    network = SimulatedNetwork(
        {MDNS: lambda q: [(b"\0\0\x84\0\0\0\0\1\0\0\0\0" + other, ("192.168.1.9", 5353))]}
    )
    dns.servers = []
    raises(OSError, network.look_up, "broker.local")


def test_a_dns_server_may_know_a_name_in_local():
    network = SimulatedNetwork({A: answer("192.168.1.9")})
    assert network.look_up("broker.local") == "192.168.1.9" and asked(network) == [MDNS, A]
    network = SimulatedNetwork({A: answer("192.168.1.9")})
    assert network.look_up("mqtt.svc.cluster.local") == "192.168.1.9" and asked(network) == [A]


def test_a_dns_server_that_does_not_know_a_name_in_local_does_not_end_the_lookup():
    seen = []

    def device(query):
        seen.append(query)
        return [(answer("192.168.1.9")(query), ("192.168.1.9", 5353))] if len(seen) == 3 else None

    for code in (3, 5):
        seen.clear()
        network = SimulatedNetwork({A: refuse(code), MDNS: device})
        assert network.look_up("broker.local") == "192.168.1.9"
        assert asked(network).count(A) == 1


# ---- the system's servers, and getaddrinfo


class Interface:
    """The module `network` of a board whose interface has this DNS server."""

    STA_IF = 0

    def __init__(self, server, has_ipconfig):
        self.server = server
        if has_ipconfig:
            self.ipconfig = lambda name: {"dns": self.server}[name]

    def WLAN(self, interface):  # noqa: N802
        return self

    def ifconfig(self):
        return ("10.0.0.5", "255.255.255.0", "10.0.0.254", self.server)


def test_a_board_asks_the_server_of_its_network_interface():
    for has_ipconfig in (False, True):
        network = SimulatedNetwork({B: answer("192.0.2.7")})
        dns.servers = None
        sys.modules["network"] = Interface("10.0.0.2", has_ipconfig)
        assert network.look_up("a.example") == "192.0.2.7"
        sys.modules["network"].server = "0.0.0.0"
        error = raises(OSError, network.look_up, "b.example")
        assert "b.example: no DNS server is known. Is the network up?" in str(error)
        del sys.modules["network"]


def test_getaddrinfo_is_not_called_on_a_board_whose_servers_are_silent_or_do_not_know_the_name():
    network = SimulatedNetwork()
    dns.servers = None
    sys.modules["network"] = Interface("10.0.0.1", True)
    raises(OSError, network.look_up, "a.example")
    network.servers[A] = refuse(3)
    raises(OSError, network.look_up, "a.example")
    network.servers[A] = refuse(5)
    raises(OSError, network.look_up, "a.example")
    assert not network.system_calls
    del sys.modules["network"]


def test_getaddrinfo_is_called_if_the_system_does_not_report_its_servers():
    network = SimulatedNetwork()
    network.system = {"a.example": "192.0.2.7"}
    dns.servers = None
    sys.modules["network"] = Interface("fd00::1", True)  # a server that can't be used
    assert dns.Lookup("a.example").address == "192.0.2.7"
    dns._cache.clear()
    network.system_calls.clear()
    sys.modules["network"] = object()  # it has neither `ipconfig` nor `WLAN`
    assert network.look_up("a.example") == "192.0.2.7" and network.system_calls == ["a.example"]
    assert "b.example: unknown host" in str(raises(OSError, network.look_up, "b.example"))
    network.now += 86400000
    network.system = {}
    assert dns.Lookup("a.example").address == "192.0.2.7"  # the last known address
    del sys.modules["network"]


def test_the_unix_port_reads_hosts_and_resolv_conf():
    if sys.platform == "webassembly":
        return  # it has no file system
    from umqtt5.optional import unix_names

    sys.modules.pop("network", None)
    before = unix_names.HOSTS, unix_names.RESOLV_CONF
    unix_names.HOSTS, unix_names.RESOLV_CONF = "test_hosts", "test_resolv.conf"
    try:
        with open("test_hosts", "w") as file:
            file.write("# comment\n\n::1 both Six\n192.0.2.9 here both alias # name\nx\n")
        with open("test_resolv.conf", "w") as file:
            file.write(
                "search lan\nnameserver fd00::1\nnameserver 10.0.0.1 # first\noptions ndots:1\n"
                "nameserver 10.0.0.2\n"
            )
        network = SimulatedNetwork({B: answer("192.0.2.7")})
        dns.servers = None
        assert network.look_up("Alias") == network.look_up("both") == "192.0.2.9"
        assert network.look_up("six") == "::1"
        assert network.look_up("name") == "192.0.2.7" and asked(network) == [A, B]
        unix_names.RESOLV_CONF = "missing"
        network.system = {"other": "192.0.2.8"}
        assert network.look_up("other") == "192.0.2.8"
    finally:
        for name in (unix_names.HOSTS, "test_resolv.conf"):
            os.remove(name)
        unix_names.HOSTS, unix_names.RESOLV_CONF = before


def test_the_unix_port_asks_the_system_if_a_server_has_just_said_that_there_is_no_address():
    """The system may know other names, for example with the search list of /etc/resolv.conf."""
    for server in (refuse(3), lambda query: response(query)):
        network = SimulatedNetwork({A: server})
        network.AF_UNIX = 1
        network.system = {"broker": "192.0.2.7"}
        raises(OSError, network.look_up, "broker")  # the program has set the servers
        assert not network.system_calls
        dns.servers = None
        read, system_names.read_system = system_names.read_system, lambda name: (["10.0.0.1"], None)
        try:
            assert network.look_up("broker") == "192.0.2.7"
            dns.remember("broker2", ["192.0.2.8"])
            assert "broker2: unknown host" in str(raises(OSError, network.look_up, "broker2"))
        finally:
            system_names.read_system = read


def test_servers_must_be_addresses():
    for server in ("dns.example", ("dns.example", 53), "", "fd00::1"):
        SimulatedNetwork()
        dns.servers = [server]
        assert "dns.servers" in str(raises(ValueError, dns.Lookup, "a.example"))


# ---- the TCP transport


class TcpNetwork(SimulatedNetwork):
    """A `socket` module for `tcp`. It records the options that are set."""

    def __init__(self, **constants):
        SimulatedNetwork.__init__(self)
        self.options = []
        self.connected = []
        for name in constants:
            setattr(self, name, constants[name])

    def socket(self, *arguments):
        if arguments[1] == self.SOCK_DGRAM:
            return SimulatedNetwork.socket(self, *arguments)
        return self

    def setblocking(self, on):
        assert on is False

    def setsockopt(self, *option):
        self.options.append(option)

    def connect(self, address):
        self.connected.append(address)

    def readinto(self, buf, n):
        return None


def tcp_on(network):
    tcp.socket = network
    return tcp


def test_tcp_uses_the_port_s_own_number_of_the_option_that_switches_off_nagle():
    for constants, options in (
        ({"TCP_NODELAY": 64, "IPPROTO_TCP": 6}, [(6, 64, 1)]),  # lwIP without an operating system
        ({"TCP_NODELAY": 1, "IPPROTO_TCP": 6}, [(6, 1, 1)]),
        ({"AF_UNIX": 1}, [(6, 1, 1)]),  # the unix port
        ({}, []),  # `setsockopt` would print a warning
    ):
        network = TcpNetwork(**constants)
        tcp_on(network).connect("192.0.2.7", 1883)
        assert network.options == options and network.connected == [("192.0.2.7", 1883)]


def test_tcp_asks_the_system_only_for_addresses():
    """With a name, `getaddrinfo` would block."""
    network = TcpNetwork()
    tcp_on(network)
    for host in ("1.2.3.999", "1.2.3", "", "broker..local"):
        assert raises(OSError, tcp.connect, host, 1883).is_permanent
    pending = raises(dns.LookupPending, tcp.connect, "broker.example", 1883)
    network.servers = {A: answer("192.0.2.7")}
    network.run(pending.lookup)
    tcp.connect("broker.example", 1883)
    assert network.connected == [("192.0.2.7", 1883)] and not network.system_calls


def test_a_transport_over_another_one_is_called_again_after_the_lookup():
    from umqtt5 import websocket

    network = TcpNetwork()
    transport = websocket.wrap(tcp_on(network).connect)
    if sys.platform == "webassembly":  # it has neither SHA-1 nor `os.urandom`
        websocket.handshake._accept = lambda key: b""
        websocket.handshake._random = websocket.transport._random = bytes
    for _ in range(2):
        pending = raises(dns.LookupPending, transport, "broker.example", 80)
    network.servers = {A: answer("192.0.2.7")}
    network.run(pending.lookup)
    assert transport("broker.example", 80).pollable is network


# ---- the client


def test_a_client_connects_by_name():
    network = SimulatedNetwork({A: answer("192.0.2.7")})
    sim = NamedBroker(network)
    assert sim.client.connect() is False and sim.client.is_connected
    assert sim.addresses == ["192.0.2.7"] and network.sockets[0].closed
    assert sim.client.stream is sim.stream and sim.client.poll_events() == 1
    sim.stream.closed_by_broker = True
    sim.client.poll(5000)
    assert sim.client.connection_count == 2 and len(network.queries) == 1


def test_poll_returns_in_time_while_no_dns_server_answers():
    network = SimulatedNetwork()
    sim = NamedBroker(network)
    sim.client.connect(wait=False)
    lost = []
    sim.client.on_state = lambda client, connected, error: lost.append((sim.now, str(error)))
    while sim.now < 60000:
        start = sim.now
        assert sim.client.poll(50) is False
        assert 50 <= sim.now - start <= 52
    assert len(lost) > 3 and lost[0][0] == 10000 and "broker:1883: no DNS server answered" in lost[0][1]
    assert len(network.queries) < 65 and all(sock.closed for sock in network.sockets[:-1])
    network.servers = {A: answer("192.0.2.7")}
    sim.client.poll(2000)
    if not sim.client.is_connected:
        sim.client.poll(61000)  # the client was waiting for the next try
    assert sim.client.is_connected


def test_a_lookup_and_the_connection_share_the_connect_timeout():
    network = SimulatedNetwork()
    sim = NamedBroker(network, timeout=3000)
    error = raises(OSError, sim.client.connect)
    assert error.errno == ETIMEDOUT and "broker:1883: " in str(error) and sim.now == 3000
    dns.remember("broker", ["192.0.2.7"])
    sim.is_writable = False
    start = sim.now
    error = raises(OSError, sim.client.connect)
    assert error.errno == ETIMEDOUT and sim.stream.closed
    assert 3000 <= sim.now - start <= 3010


def test_the_next_timeout_and_the_events_serve_an_external_loop_during_a_lookup():
    network = SimulatedNetwork()
    sim = NamedBroker(network)
    sim.client.connect(wait=False)
    sim.client.poll()
    assert sim.client._link == LINK_OPENING and sim.client.next_timeout() == 1000
    assert sim.client.stream.pollable is network.sockets[0] and sim.client.poll_events() == 1
    sim.now += 300
    assert sim.client.next_timeout() == 700
    network.sockets[0].inbox.append((answer("192.0.2.7")(network.queries[0][2]), A))
    sim.client.poll()
    assert sim.client.stream is sim.stream and sim.client.poll_events() == 4
    sim.client.poll(1)
    sim.client.poll(1)
    assert sim.client.is_connected


def test_disconnect_ends_a_lookup():
    network = SimulatedNetwork()
    sim = NamedBroker(network)
    sim.client.connect(wait=False)
    sim.client.poll(100)
    before = sim.now
    sim.client.disconnect()
    assert sim.now == before and network.sockets[0].closed and sim.client.stream is None
    assert sim.client._link == LINK_DOWN and sim.client._poller.stream is None
    sim.client.poll(20000)
    assert len(network.queries) == 1
    network.servers = {A: answer("192.0.2.7")}
    sim.client.connect()
    assert sim.client.is_connected


def test_the_next_address_is_tried_after_a_failed_connection():
    network = SimulatedNetwork({A: answer("192.0.2.1", "192.0.2.2")})
    sim = NamedBroker(network)
    sim.broker_listens = False
    sim.client.connect(wait=False)
    sim.client.poll(15000)
    assert sim.addresses[:4] == ["192.0.2.1", "192.0.2.2"] * 2


def test_the_last_address_is_used_after_a_restart_of_the_router():
    network = SimulatedNetwork({A: answer("192.0.2.7")})
    sim = NamedBroker(network)
    sim.client.connect()
    network.servers = {}
    sim.now += 3_600_000
    sim.stream.closed_by_broker = True
    sim.client.poll(5000)
    assert sim.client.connection_count == 2 and sim.addresses == ["192.0.2.7"] * 2


def test_each_broker_of_a_list_is_looked_up():
    from umqtt5.optional.broker_failover import attach

    network = SimulatedNetwork({A: lambda q: (answer("192.0.2.8") if b"second" in q else refuse(3))(q)})
    sim = NamedBroker(network)
    attach(sim.client, ["first.example", "second.example"])
    sim.client.connect(wait=False)
    sim.client.poll(500)
    assert sim.client.is_connected and sim.addresses == ["192.0.2.8"]


def test_the_broker_that_a_server_reference_names_is_looked_up():
    network = SimulatedNetwork({A: lambda q: answer("192.0.2.8" if b"other" in q else "192.0.2.7")(q)})
    sim = NamedBroker(network)
    sim.client.follow_redirects = True
    sim.connect_reply = b"\x20\x12\x00\x9c\x0f\x1c\x00\x0cother.exampl"
    sim.client.connect(wait=False)
    sim.client.poll()
    sim.client.poll()
    sim.connect_reply = b"\x20\x03\x00\x00\x00"
    first = sim.client.connection_count
    sim.client.poll(200)
    assert first == 0 and sim.client.is_connected and sim.addresses[:2] == ["192.0.2.7", "192.0.2.8"]


def test_a_transport_may_look_up_another_name_or_several():
    network = SimulatedNetwork({A: lambda q: answer("192.0.2.8" if b"proxy" in q else "192.0.2.7")(q)})
    sim = NamedBroker(network)

    def tunnel(host, port):
        proxy = dns.resolve("proxy.example")
        return sim.connect(host, port) if proxy == "192.0.2.8" else None

    sim.client._transport = tunnel
    sim.client.connect()
    assert sim.client.is_connected and len(network.queries) == 2


def test_a_transport_that_does_not_look_up_names_gets_the_name():
    network = SimulatedNetwork()
    sim = NamedBroker(network)
    hosts = []
    sim.client._transport = lambda host, port: (
        hosts.append((host, port)) or super(NamedBroker, sim).connect(host, port)
    )
    sim.client.connect()
    assert hosts == [("broker", 1883)] and not network.queries


def test_an_invalid_name_is_a_permanent_error():
    network = SimulatedNetwork()
    for host in ("mqtt://broker.local", "b\u00fccher.example", "", "1.2.3.999", "a..b"):
        sim = NamedBroker(network)
        sim.client.host = host
        error = raises(OSError, sim.client.connect)
        assert error.errno == EINVAL and "host: " in str(error)
        assert sim.client.has_permanent_error
    assert not network.queries


def test_a_socket_that_cannot_be_opened_is_an_os_error():
    network = SimulatedNetwork()

    def fail(family, kind):
        raise OSError(23, "too many sockets")

    network.socket = fail
    sim = NamedBroker(network)
    assert raises(OSError, sim.client.connect).errno == 23
    assert sim.client.stream is None and sim.client._link == LINK_DOWN


def test_handlers_may_disconnect_and_connect_again_when_a_lookup_fails():
    network = SimulatedNetwork({A: refuse(3)})
    sim = NamedBroker(network)

    def on_state(client, connected, error):
        if not connected:
            network.servers = {A: answer("192.0.2.7")}
            client.disconnect()
            client.connect(wait=False)

    sim.client.on_state = on_state
    sim.client.connect(wait=False)
    sim.client.poll(100)
    assert sim.client.is_connected


assert u16(258) == b"\1\2"
