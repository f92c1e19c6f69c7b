"""A simulated broker that answers every packet, checks it, and records the messages."""

from __future__ import annotations

import sys
from typing import Any

from tools.paths import ROOT

sys.path.insert(0, str(ROOT / "host_tests" / "unit"))

from packet_reader import make_ack, read_publishes, split_packets  # noqa: E402
from simulation import Simulation  # noqa: E402

from helper import make_packet, publish_packet  # noqa: E402


class AckingBroker(Simulation):  # type: ignore[misc]
    """A broker with a stream that parses what the client writes."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("aliases", 4)
        options.setdefault("keep_alive", 60)
        super().__init__(**options)
        self.connect_reply = make_packet(0x20, b"\x00\x00\x03\x22\x00\x04")
        self._sent = 100

    def connect(self, host: str, port: int) -> Any:
        stream = super().connect(host, port)
        write = stream.write
        seen = 0

        def write_and_answer(buf: bytes, at: int, n: int) -> Any:
            nonlocal seen
            n = write(buf, at, n)
            for first, body in split_packets(stream.written[seen:]):
                stream.inbox += self._answer(first, body)
            seen = len(stream.written)
            return n

        stream.write = write_and_answer
        return stream

    @staticmethod
    def _answer(first: int, body: bytes) -> bytes:
        kind = first & 0xF0
        if kind == 0x30 and first & 6:
            size = body[0] << 8 | body[1]
            packet_id = int.from_bytes(body[2 + size : 4 + size], "big")
            return make_ack(0x40 if first & 6 == 2 else 0x50, packet_id)
        if kind in (0x50, 0x60):
            packet_id = int.from_bytes(body[:2], "big")
            return b"" if body[2:] else make_ack(0x62 if kind == 0x50 else 0x70, packet_id)
        if kind in (0x80, 0xA0):
            return make_packet(kind + 0x10, body[:2], b"\x00\x00")
        return b""

    def send(self, topic: bytes, payload: bytes, qos: int) -> None:
        """Send a message to the client."""
        self._sent += 1
        self.stream.inbox += publish_packet(topic, payload, qos, self._sent)

    def check_packets(self) -> None:
        """Check that the client has written whole packets with valid first bytes."""
        for stream in self.streams:
            packets = split_packets(stream.written)
            assert packets[0][0] == 0x10
            for first, _ in packets[1:]:
                assert first & 0xF0 in (0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0xA0, 0xC0, 0xE0), first

    def received_payloads(self) -> list[bytes]:
        """Return the payloads of all messages, without repetitions (DUP)."""
        return [m.payload for stream in self.streams for m in read_publishes(stream.written) if not m.dup]
