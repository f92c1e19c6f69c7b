"""Where the other side stalls, or says all at once."""

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
    ("kind", "said"),
    [("tls", b""), ("tls", b"\x16\x03\x03\x00"), ("wss", b""), ("ws", b""), ("ws", b"HTTP/1.1 101")],
    ids=["tls", "tls begun", "wss", "ws", "ws begun"],
)
def test_a_stalled_handshake_holds_nobody_and_ends(
    kind: str, said: bytes, interpreter: str, certificates: Certificates
) -> None:
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(said)
        over.wait(60)

    with serve_connections(serve) as address:
        output = run_scenario(interpreter, "stalled", address, kind=kind, ca=certificates.ca)
        over.set()
    late = re.search(r"^late (.+)$", output, re.MULTILINE)
    found = re.search(r"^waited (\d+) steps (\d+) timed out (\w+)$", output, re.MULTILINE)
    assert late and found, output
    times = sorted(map(int, late[1].split()))
    # a poll may be late where the machine was busy with something else, the median may not
    assert times[len(times) // 2] <= 60 and times[int(len(times) * 0.8)] <= 100, times
    assert 1400 <= int(found[1]) < 4000 and found[3] == "True"
    assert int(found[2]) < 6 * len(times) + 20, "it spins"


@on_each_interpreter
@pytest.mark.parametrize("secure", [False, True])
def test_what_could_not_be_written_goes_on_in_order(
    secure: bool, interpreter: str, certificates: Certificates
) -> None:
    """mbedTLS wants the same bytes again, and would count those behind them as sent."""
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

    name = "what_could_not_be_written_goes_on_in_order"
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
def test_a_full_buffer_is_read_to_its_end(interpreter: str, certificates: Certificates) -> None:
    """What TLS has read and not yet given, `poll` does not see."""

    def serve(connection: socket.socket) -> None:
        read_packet(connection)
        connection.sendall(CONNACK)
        _, body = read_packet(connection)  # SUBSCRIBE
        block = b"\x90\x04" + body[:2] + b"\x00\x01"
        for i in range(600):
            block += b"\x32\x0a\x00\x01a" + (i + 1).to_bytes(2, "big") + b"\x00%04d" % i
        assert len(block) < 16384
        connection.sendall(block)
        read_exactly(connection, 1 << 20)  # until it closes

    with serve_connections(serve, certificates.server) as address:
        run_scenario(interpreter, "a_full_buffer_is_read_to_its_end", address, kind="tls", ca=certificates.ca)


REFUSALS = {
    "404 Not Found": ("HTTP/1.1 404 Not Found\r\n\r\n", True),
    "401 Unauthorized": ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", True),
    "502 Bad Gateway": ("HTTP/1.1 502 Bad Gateway\r\n\r\n", False),
    "no HTTP": ("220 mail.example ESMTP\r\n", False),
}


@on_each_interpreter
@pytest.mark.parametrize("words", REFUSALS)
def test_a_refused_path_is_told(words: str, interpreter: str) -> None:
    text, lasting = REFUSALS[words]

    def serve(connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += read_exactly(connection, 1)
        connection.sendall(text.encode())
        read_exactly(connection, 1 << 20)

    with serve_connections(serve) as address:
        output = run_scenario(interpreter, "refused", address, kind="ws", path="/wrong")
    assert words in output and output.count(f"lasting {lasting}") == 3, output
