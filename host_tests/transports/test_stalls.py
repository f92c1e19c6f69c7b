"""Peers that stall in a handshake, do not read, send many packets at once, or refuse a WebSocket upgrade."""

from __future__ import annotations

import re
import socket
import threading

import pytest

from host_tests.transports.conftest import Certificates
from host_tests.transports.run_scenario import finish, on_each_interpreter, run_scenario, start
from host_tests.transports.scripted_servers import read_exactly, read_packet, serve_connections

CONNACK = b"\x20\x03\x00\x00\x00"


@on_each_interpreter
@pytest.mark.parametrize(
    ("kind", "data"),
    [("tls", b""), ("tls", b"\x16\x03\x03\x00"), ("wss", b""), ("ws", b""), ("ws", b"HTTP/1.1 101")],
    ids=["tls", "tls started", "wss", "ws", "ws started"],
)
def test_a_stalled_handshake_does_not_delay_polls_and_times_out(
    kind: str, data: bytes, interpreter: str, certificates: Certificates
) -> None:
    finished = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(data)
        finished.wait(60)

    with serve_connections(serve) as address:
        output = run_scenario(interpreter, "stalled_handshake", address, kind=kind, ca=certificates.ca)
        finished.set()
    poll_times = re.search(r"^poll times (.+)$", output, re.MULTILINE)
    found = re.search(r"^waited (\d+) steps (\d+) timed out (\w+)$", output, re.MULTILINE)
    assert poll_times and found, output
    times = sorted(map(int, poll_times[1].split()))
    # a single poll may be late because the machine is busy, but not the median
    assert times[len(times) // 2] <= 60 and times[int(len(times) * 0.8)] <= 100, times
    assert 1400 <= int(found[1]) < 4000 and found[3] == "True"
    assert int(found[2]) < 6 * len(times) + 20, "busy waiting"


@on_each_interpreter
@pytest.mark.parametrize("secure", [False, True])
def test_data_that_could_not_be_written_is_sent_later_in_order(
    secure: bool, interpreter: str, certificates: Certificates
) -> None:
    """After an incomplete write, mbedTLS must be passed the same bytes again, and no others."""
    reads = threading.Event()
    payloads: list[bytes] = []
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_packet(connection)
        connection.sendall(CONNACK)
        reads.wait(60)
        while not ended.is_set():
            first, body = read_packet(connection)
            assert first == 0x30, hex(first)
            payloads.append(body[4:])
            if body[4:7] == b"end":
                ended.set()

    name = "unwritten_data_is_sent_later_in_order"
    with serve_connections(serve, certificates.server if secure else None) as address:
        kind = "tls" if secure else "tcp"
        process = start(interpreter, name, address, kind=kind, ca=certificates.ca)
        try:
            assert process.stdout and process.stdout.readline() == "full\n"
        finally:
            reads.set()
        finish(process, name)
        assert ended.wait(60)
    sent = int(payloads.pop().split()[1])
    assert sent > 1000 and payloads == [b"%08d" % i + b"." * (i % 97) for i in range(sent)]


@on_each_interpreter
def test_data_buffered_by_tls_is_read_completely(interpreter: str, certificates: Certificates) -> None:
    """`select.poll` does not report data that TLS has already read from the socket."""

    def serve(connection: socket.socket) -> None:
        read_packet(connection)
        connection.sendall(CONNACK)
        _, body = read_packet(connection)  # SUBSCRIBE
        block = b"\x90\x04" + body[:2] + b"\x00\x01"
        for i in range(600):
            block += b"\x32\x0a\x00\x01a" + (i + 1).to_bytes(2, "big") + b"\x00%04d" % i
        assert len(block) < 16384
        connection.sendall(block)
        read_exactly(connection, 1 << 20)  # until the client closes the connection

    with serve_connections(serve, certificates.server) as address:
        run_scenario(
            interpreter, "data_buffered_by_tls_is_read_completely", address, kind="tls", ca=certificates.ca
        )


REFUSALS = {
    "404 Not Found": ("HTTP/1.1 404 Not Found\r\n\r\n", True),
    "401 Unauthorized": ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", True),
    "502 Bad Gateway": ("HTTP/1.1 502 Bad Gateway\r\n\r\n", False),
    "not HTTP": ("220 mail.example ESMTP\r\n", False),
}


@on_each_interpreter
@pytest.mark.parametrize("status", REFUSALS)
def test_a_refused_upgrade_is_reported_and_only_http_4xx_is_permanent(status: str, interpreter: str) -> None:
    response, is_permanent = REFUSALS[status]

    def serve(connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += read_exactly(connection, 1)
        connection.sendall(response.encode())
        read_exactly(connection, 1 << 20)

    with serve_connections(serve) as address:
        output = run_scenario(interpreter, "connection_errors", address, kind="ws", path="/wrong")
    assert status in output and output.count(f"permanent {is_permanent}") == 3, output
