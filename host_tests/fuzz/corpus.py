"""What brokers have said: the seeds of the fuzz run, one connection a line of `corpus.txt`.

`python -m host_tests.fuzz.corpus` makes the file anew: it plays the scenarios of host_tests/broker with
mosquitto and iotcore, and the SCRAM exchange of the unit tests, and keeps the packets that the client
received. What no broker here says (each property where it may stand, refusals of all kinds) is added.
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
MAX_PACKET_BYTES = 120  # bytes of a packet: what makes a fault is at its beginning
MAX_PACKETS = 10  # packets of a connection

Exchange = list[bytes]


def load() -> list[Exchange]:
    """The exchanges in the file."""
    lines = [line for line in FILE.read_text().splitlines() if line and line[0] != "#"]
    return [[bytes.fromhex(one) for one in line.split()] for line in lines]


def shorten(exchange: Exchange) -> Exchange:
    """The first packets of each kind and size."""
    seen: dict[tuple[int, int], int] = {}
    out = []
    for one in exchange:
        shape = one[0], len(one)
        seen[shape] = seen.get(shape, 0) + 1
        if seen[shape] <= 2 and len(one) <= MAX_PACKET_BYTES:
            out.append(one)
    return out[:MAX_PACKETS]


class Recorded:
    """A stream that keeps what was read from it."""

    def __init__(self, stream: Any, kept: list[bytearray]) -> None:
        self._stream = stream
        self._data = bytearray()
        kept.append(self._data)

    def readinto(self, buf: bytearray, n: int) -> int | None:
        n = self._stream.readinto(buf, n)
        self._data += buf[: n or 0]
        return n

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def recording() -> Iterator[list[bytearray]]:
    """What clients read from TCP meanwhile, connection by connection."""
    kept: list[bytearray] = []
    real = tcp.connect
    tcp.connect = lambda host, port: Recorded(real(host, port), kept)
    try:
        yield kept
    finally:
        tcp.connect = real


def packets_of(data: bytes) -> Exchange:
    """The whole packets; a connection may have been cut within one."""
    while True:
        try:
            return split_packets(data)
        except (AssertionError, IndexError):
            data = data[:-1]


def record_scenario(name: str, address: broker.Address) -> list[Exchange]:
    from host_tests.broker import scenarios

    with recording() as kept:
        scenarios.main(address.host, address.port, name)
    return [shorten(packets_of(bytes(data))) for data in kept]


def scram() -> Exchange:
    """CONNECT, a message, and authentication once more."""
    sim = BrokerSimulation()
    heard = bytearray()
    sim.client.auth = Scram("user", "pencil", random=lambda n: bytes(range(n)))
    received = sim.client.session.receive_data

    def keep(n: int, now: int) -> None:
        heard.extend(sim.client.session.framer.read_buffer[:n])
        received(n, now)

    sim.client.session.receive_data = keep
    sim.client.subscribe("a", lambda m: None)
    sim.client.connect()
    sim.client.publish("a", b"x", qos=2)
    sim.client.reauthenticate()
    restore_real_clock()
    return shorten(packets_of(bytes(heard)))


def handwritten_exchanges() -> Iterator[Exchange]:
    """What no broker here says."""
    accepted = b"\x20\x03\x00\x00\x00"
    yield [accepted, *VALID_PACKETS[:7]]
    yield [accepted, *VALID_PACKETS[7:]]
    for name, first, before, behind in PACKETS:
        # all the properties of a packet in one, then each by itself
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
    """Write the file."""
    lines = ["# made by `python -m host_tests.fuzz.corpus`: what brokers have said, one connection a line"]
    seen = set()

    def add(name: str, exchanges: list[Exchange]) -> None:
        lines.append(f"# {name}")
        for exchange in exchanges:
            shape = tuple((one[0], len(one)) for one in exchange)
            if exchange and shape not in seen:
                seen.add(shape)
                lines.append(" ".join(one.hex() for one in exchange))

    for choice in ("mosquitto", "iotcore"):
        with broker.run_broker(choice) as address:
            for name in ALL_BROKER_SCENARIOS:
                add(f"{choice}: {name}", record_scenario(name, address))
    limits = ("max_qos 1", "retain_available false", "max_keepalive 10", "max_packet_size 2000")
    with broker.Mosquitto(*limits) as strict:
        add(
            "mosquitto with limits",
            record_scenario("without_a_client_id_the_broker_gives_one", strict.address),
        )
    add("SCRAM", [scram()])
    add("made by hand", list(handwritten_exchanges()))
    FILE.write_text("\n".join(lines) + "\n")
    print(f"{FILE}: {sum(line[0] != '#' for line in lines)} connections", file=sys.stderr)


if __name__ == "__main__":
    main()
