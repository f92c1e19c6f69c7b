"""Connections by name: a real DNS server over UDP on this computer, on CPython and in the VM."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host_tests.transports.conftest import Certificates
from host_tests.transports.run_scenario import on_each_interpreter, run_scenario
from host_tests.transports.scripted_servers import read_exactly, read_packet, serve_connections
from umqtt5 import Client, dns

PROGRAM = Path(__file__).parent / "name_scenarios.py"
CONNACK = b"\x20\x03\x00\x00\x00"
LOOPBACK = socket.inet_aton("127.0.0.1")
EVIL = socket.inet_aton("127.0.0.66")

Respond = Callable[[socket.socket, bytes, tuple[str, int]], None]


def response(query: bytes, address: bytes, code: int = 0) -> bytes:
    """Return the response to a query; the TTL is 1 s."""
    head = query[:2] + bytes((0x81, 0x80 | code, 0, 1, 0, 0 if code else 1)) + bytes(4)
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + address
    return head + query[12:] + (b"" if code else record)


@contextlib.contextmanager
def serve_udp(respond: Respond, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Call `respond` for each datagram, in a thread."""
    stopped = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        sock.settimeout(0.1)

        def serve() -> None:
            while not stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    data, source = sock.recvfrom(2000)
                    respond(sock, data, source)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock
        finally:
            stopped.set()
            thread.join()


class DnsServer:
    """A DNS server whose behaviour depends on the first label of the name."""

    def __init__(self) -> None:
        self.counts: Counter[bytes] = Counter()

    def __call__(self, sock: socket.socket, query: bytes, source: tuple[str, int]) -> None:
        label = query[13 : 13 + query[12]]
        self.counts[label] += 1
        count = self.counts[label]
        if label == b"unknown":
            sock.sendto(response(query, LOOPBACK, 3), source)
        elif label == b"spoofed":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(response(query, EVIL), source)  # from another port
            sock.sendto(b"", source)
            sock.sendto(bytes((query[0] ^ 1,)) + response(query, EVIL)[1:], source)
            sock.sendto(response(query, EVIL) + bytes(1000), source)
            sock.sendto(response(query, LOOPBACK), source)
        elif (
            label in (b"good", b"broker") or (label, count) == (b"once", 1) or label == b"late" and count > 2
        ):
            sock.sendto(response(query, LOOPBACK), source)


def accept(connection: socket.socket) -> None:
    """Accept an MQTT connection, and ignore all other packets."""
    read_packet(connection)
    connection.sendall(CONNACK)
    read_exactly(connection, 1 << 20)


@on_each_interpreter
@pytest.mark.parametrize(
    "name",
    [
        "connects_by_name",
        "polls_return_in_time_while_the_server_is_silent",
        "a_blocking_connect_has_a_deadline",
        "a_server_that_answers_late_is_used",
        "the_last_address_is_used_if_the_server_is_silent",
        "spoofed_answers_are_ignored",
        "an_unknown_name_is_an_error",
        "the_asyncio_client_does_not_block",
    ],
)
def test_names(name: str, interpreter: str) -> None:
    server = DnsServer()
    with serve_udp(server) as sock, serve_connections(accept) as address:
        run_scenario(interpreter, name, address, program=PROGRAM, dns=sock.getsockname())
    if name == "connects_by_name":
        assert server.counts[b"good"] == 1


@on_each_interpreter
def test_the_next_server_is_asked_if_one_fails(interpreter: str) -> None:
    def fail(sock: socket.socket, query: bytes, source: tuple[str, int]) -> None:
        sock.sendto(response(query, LOOPBACK, 2), source)

    with serve_udp(fail) as failing, serve_udp(DnsServer()) as sock, serve_connections(accept) as address:
        run_scenario(
            interpreter,
            "a_server_that_fails_is_followed_by_the_next",
            address,
            program=PROGRAM,
            dns=sock.getsockname(),
            failing=failing.getsockname(),
        )


@on_each_interpreter
@pytest.mark.parametrize("group", ["224.0.0.251", "127.0.0.1"])
def test_a_name_in_local_is_found_by_multicast(group: str, interpreter: str) -> None:
    """With 127.0.0.1 the query is sent to a unicast address, for computers that have no multicast route."""

    def answer(sock: socket.socket, query: bytes, source: tuple[str, int]) -> None:
        assert query[12:] == b"\6broker\5local\0\0\1\x80\1"
        sock.sendto(response(query, LOOPBACK), source)

    multicast = group.startswith("224")
    with serve_udp(answer, "" if multicast else group) as sock, serve_connections(accept) as address:
        if multicast:
            try:
                membership = socket.inet_aton(group) + socket.inet_aton("0.0.0.0")
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.sendto(b"", (group, 9))
            except OSError:
                pytest.skip("this computer has no route for multicast")
        run_scenario(
            interpreter,
            "a_name_in_local_is_found_by_multicast",
            address,
            program=PROGRAM,
            mdns=(group, sock.getsockname()[1]),
        )


@on_each_interpreter
def test_tls_checks_the_name_and_not_the_address(interpreter: str, certificates: Certificates) -> None:
    with serve_udp(DnsServer()) as sock, serve_connections(accept, certificates.server) as address:
        output = run_scenario(
            interpreter,
            "tls_checks_the_name",
            address,
            program=PROGRAM,
            dns=sock.getsockname(),
            ca=certificates.ca,
        )
    assert "wrong name" in output


def test_on_cpython_the_system_looks_names_up_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    real, released = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: str, *rest: object) -> object:
        if host == "broker.example":
            released.wait(20)
            host = "127.0.0.1"
        elif host == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        elif host == "silent.example":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(dns, "_cache", {})
    with serve_connections(accept) as address:
        client = Client("broker.example", address.port)
        client.connect(wait=False)
        for _ in range(10):
            before = time.monotonic()
            client.poll(50)
            assert time.monotonic() - before < 1 and not client.is_connected
        released.set()
        deadline = time.monotonic() + 20
        while not client.is_connected:
            assert time.monotonic() < deadline
            client.poll(50)
        client.disconnect()
    for host, words in (
        ("unknown.example", "unknown host (Name or service not known)"),
        ("silent.example", "no DNS server answered"),
    ):
        client = Client(host, 1)
        with pytest.raises(OSError, match=host) as raised:
            client.connect()
        assert words in str(raised.value)
