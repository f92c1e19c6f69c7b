"""Seed corpus of the fuzzer: packets that brokers sent, one connection per line of `corpus.txt`.

`python -m host_tests.fuzz.corpus` generates the file. It runs the scenarios of host_tests/broker with
mosquitto and iotcore, and a SCRAM exchange with the simulated broker of the unit tests, and records the
packets that the client received. It adds packets that these brokers never send: each property in each
packet that may carry it, and refusals of all kinds.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from answering_broker import BrokerSimulation
from simulation import restore_real_clock
from test_invalid_packets import VALID_PACKETS, with_length
from test_packet import PACKETS, PROPERTY_TABLE, REASON_CODES

from helper import make_packet, publish_packet, utf8_string
from host_tests.broker.test_brokers import ALL_BROKER_SCENARIOS
from host_tests.interop.reference_packets import split_packets
from tools import broker
from umqtt5 import tcp
from umqtt5.scram import Scram

FILE = Path(__file__).parent / "corpus.txt"
MAX_PACKET_BYTES = 120  # maximum size of a packet: most faults depend only on its first bytes
MAX_PACKETS = 10  # maximum number of packets per connection

Exchange = list[bytes]


def load() -> list[Exchange]:
    """Return the exchanges in `corpus.txt`."""
    lines = [line for line in FILE.read_text().splitlines() if line and line[0] != "#"]
    return [[bytes.fromhex(packet) for packet in line.split()] for line in lines]


def shorten(exchange: Exchange) -> Exchange:
    """Return the first two packets of each first byte and size, except long ones."""
    seen: dict[tuple[int, int], int] = {}
    out = []
    for packet in exchange:
        shape = packet[0], len(packet)
        seen[shape] = seen.get(shape, 0) + 1
        if seen[shape] <= 2 and len(packet) <= MAX_PACKET_BYTES:
            out.append(packet)
    return out[:MAX_PACKETS]


class RecordedStream:
    """A stream that records the bytes read from it."""

    def __init__(self, stream: Any, recordings: list[bytearray]) -> None:
        self._stream = stream
        self._data = bytearray()
        recordings.append(self._data)

    def readinto(self, buf: bytearray, n: int) -> int | None:
        n = self._stream.readinto(buf, n)
        self._data += buf[: n or 0]
        return n

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def recording() -> Iterator[list[bytearray]]:
    """Record what clients read from TCP: a list with the bytes of each connection."""
    recordings: list[bytearray] = []
    real = tcp.connect
    tcp.connect = lambda host, port: RecordedStream(real(host, port), recordings)
    try:
        yield recordings
    finally:
        tcp.connect = real


def complete_packets(data: bytes) -> Exchange:
    """Return the complete packets of a connection, which may have ended within a packet."""
    while True:
        try:
            return split_packets(data)
        except (AssertionError, IndexError):
            data = data[:-1]


def record_scenario(name: str, address: broker.Address) -> list[Exchange]:
    from host_tests.broker import scenarios

    with recording() as recordings:
        scenarios.main(address.host, address.port, name)
    return [shorten(complete_packets(bytes(data))) for data in recordings]


def scram() -> Exchange:
    """Return what a client with SCRAM receives: it connects, publishes at QoS 2 and reauthenticates."""
    sim = BrokerSimulation()
    recorded = bytearray()
    sim.client.auth = Scram("user", "pencil", random=lambda n: bytes(range(n)))
    receive_data = sim.client.session.receive_data

    def record(n: int, now: int) -> None:
        recorded.extend(sim.client.session.framer.read_buffer[:n])
        receive_data(n, now)

    sim.client.session.receive_data = record
    sim.client.subscribe("a", lambda m: None)
    sim.client.connect()
    sim.client.publish("a", b"x", qos=2)
    sim.client.reauthenticate()
    restore_real_clock()
    return shorten(complete_packets(bytes(recorded)))


def handwritten_exchanges() -> Iterator[Exchange]:
    """Yield exchanges with packets that the brokers of these tests never send."""
    accepted = b"\x20\x03\x00\x00\x00"
    yield [accepted, *VALID_PACKETS[:7]]
    yield [accepted, *VALID_PACKETS[7:]]
    for name, first, before, behind in PACKETS:
        # all properties together, then each of them alone
        blocks = [
            bytes((identifier,)) + value
            for identifier, value, where in PROPERTY_TABLE
            if name in where.split()
        ]
        whole = [
            make_packet(first, before, with_length(block), behind) for block in [b"".join(blocks), *blocks]
        ]
        yield whole if first == 0x20 else [accepted, *whole]
    for first, codes in REASON_CODES:
        before = {0x20: b"\x00", 0x90: b"\x80\x00\x00", 0xB0: b"\x80\x01\x00", 0xE0: b"", 0xF0: b""}
        rows = [
            make_packet(first, before.get(first, b"\x00\x01"), bytes((code,)), b"\x00" * (first == 0x20))
            for code in codes[1:8]
        ]
        yield rows if first == 0x20 else [accepted, *rows]
    yield [
        accepted,
        publish_packet(b"a/long/topic", b"x", 0, 0, b"\x23\x00\x01"),
        publish_packet(b"", b"x", 1, 5, b"\x23\x00\x01"),
        publish_packet(b"other", b"x" * 90, 2, 6, b"\x23\x00\x02"),
        publish_packet(
            b"ask", b"x", 1, 7, b"\x08" + utf8_string(b"answer/here") + b"\x09" + utf8_string(b"key")
        ),
        make_packet(0xE0, b"\x9d", with_length(b"\x1c" + utf8_string(b"other:1883"))),
    ]


def main() -> None:
    """Write `corpus.txt`."""
    lines = [
        "# generated by `python -m host_tests.fuzz.corpus`: packets from brokers, one connection per line"
    ]
    seen = set()

    def add(name: str, exchanges: list[Exchange]) -> None:
        lines.append(f"# {name}")
        for exchange in exchanges:
            shape = tuple((packet[0], len(packet)) for packet in exchange)
            if exchange and shape not in seen:
                seen.add(shape)
                lines.append(" ".join(packet.hex() for packet in exchange))

    for choice in ("mosquitto", "iotcore"):
        with broker.run_broker(choice) as address:
            for name in ALL_BROKER_SCENARIOS:
                add(f"{choice}: {name}", record_scenario(name, address))
    limits = ("max_qos 1", "retain_available false", "max_keepalive 10", "max_packet_size 2000")
    with broker.Mosquitto(*limits) as strict:
        add(
            "mosquitto with limits",
            record_scenario("the_broker_assigns_a_missing_client_id", strict.address),
        )
    add("SCRAM", [scram()])
    add("handwritten", list(handwritten_exchanges()))
    FILE.write_text("\n".join(lines) + "\n")
    print(f"{FILE}: {sum(line[0] != '#' for line in lines)} connections", file=sys.stderr)


if __name__ == "__main__":
    main()
