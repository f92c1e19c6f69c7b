"""A simulated broker with a session: it checks every packet, records messages once, and sends messages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tools.paths import ROOT

sys.path.insert(0, str(ROOT / "host_tests" / "unit"))

from packet_reader import Connect, make_ack, read_string  # noqa: E402
from simulation import SimulatedStream, Simulation  # noqa: E402

from helper import make_packet, publish_packet  # noqa: E402

MAX_MS = 3_600_000  # simulated time after which a test counts as hanging
MAX_READS = 50_000
_SIZES = {0x01: 1, 0x02: 4, 0x11: 4, 0x23: 2}  # properties with a fixed size
_TEXTS = (0x03, 0x08, 0x09, 0x15, 0x16, 0x1F)


class Hang(BaseException):
    """The client never ends a call, or ends it much too late. No handler of the library catches this."""


def read_properties(body: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Return the properties at `at`, and the offset after them."""
    size, shift = 0, 0
    while True:
        size |= (body[at] & 127) << shift
        shift += 7
        at += 1
        if body[at - 1] < 128:
            break
    end = at + size
    found: dict[int, Any] = {}
    while at < end:
        key = body[at]
        at += 1
        if key in _TEXTS:
            found[key], at = read_string(body, at)
        elif key == 0x26:
            _, at = read_string(body, at)
            found[key], at = read_string(body, at)
        elif key == 0x0B:
            while body[at] > 127:
                at += 1
            at += 1
        else:
            found[key] = int.from_bytes(body[at : at + _SIZES[key]], "big")
            at += _SIZES[key]
    assert at == end, "properties"
    return found, end


class BrokerStream(SimulatedStream):  # type: ignore[misc]
    """One connection. `on_read` and `on_write` are called once, inside the next read or write."""

    def __init__(self, sim: SessionBroker) -> None:
        super().__init__(sim)
        self.rest = b""
        self.aliases: dict[int, bytes] = {}
        self.accepted = False  # CONNACK is sent
        self.disconnected = False  # DISCONNECT has arrived
        self.on_read: Callable[[], Any] | None = None
        self.on_write: Callable[[], Any] | None = None

    def readinto(self, buf: Any, n: int) -> int | None:
        self.sim.count_read()
        if self.on_read:
            call, self.on_read = self.on_read, None
            call()
        result: int | None = super().readinto(buf, n)
        return result

    def write(self, buf: Any, at: int, n: int) -> int | None:
        assert not self.closed, "a write to a closed stream"
        n = super().write(buf, at, n)
        if n:
            self.rest += bytes(buf[at : at + n])
            self.sim.take_packets(self)
        if self.on_write:
            call, self.on_write = self.on_write, None
            call()
        return n


class SessionBroker(Simulation):  # type: ignore[misc]
    """A broker that keeps one session. If `is_silent`, it does not answer until `answer_late` is called."""

    def __init__(self, **options: Any) -> None:
        self.on_connect: Callable[[], Any] | None = None  # called once, inside the next call of the transport
        self.on_sleep: Callable[[], Any] | None = None  # called once, while the client sleeps or polls
        self.received: list[bytes] = []  # payloads, without repetitions
        self.connects: list[Connect] = []
        self.packets: list[tuple[int, bytes]] = []  # first byte and body of all packets
        self.filters: set[bytes] = set()
        self.acked: list[int] = []  # packet identifiers that the client has acknowledged
        self.is_silent = False
        self._has_session = False
        self._late: list[tuple[BrokerStream, bytes]] = []
        self._open_ids: set[int] = set()  # QoS 2 packet identifiers that are not released
        self._last: dict[int, bytes] = {}  # the last payload of each packet identifier at QoS 1
        self._unacked: dict[int, tuple[bytes, bytes, int]] = {}
        self._released: set[int] = set()
        self._next_id = 0
        self._reads = 0
        super().__init__(**options)
        self.connect_reply = b""

    # ---- the clock and the network

    def sleep(self, ms: int) -> None:
        if self.on_sleep:
            call, self.on_sleep = self.on_sleep, None
            call()
            ms = min(ms, 30)  # what the call has caused ends the wait
        super().sleep(ms)
        if self.now > MAX_MS:
            raise Hang("%d ms" % self.now)

    def count_read(self) -> None:
        self._reads += 1
        if self._reads > MAX_READS:
            raise Hang("%d reads" % self._reads)

    def connect(self, host: str, port: int) -> BrokerStream:
        self.connect_times.append(self.now)
        if self.on_connect:
            call, self.on_connect = self.on_connect, None
            call()
        if not self.broker_listens:
            raise OSError(111, "refused")
        stream = BrokerStream(self)
        self.streams.append(stream)
        return stream

    def cut(self) -> None:
        """Close the connection without DISCONNECT."""
        self.stream.inbox = b""
        self.stream.closed_by_broker = True

    # ---- packets from the client

    def take_packets(self, stream: BrokerStream) -> None:
        while len(stream.rest) > 1:
            size, shift, at = 0, 0, 1
            while at < len(stream.rest):
                size |= (stream.rest[at] & 127) << shift
                shift += 7
                at += 1
                if stream.rest[at - 1] < 128:
                    break
            if len(stream.rest) < at + size:
                return
            first, body = stream.rest[0], stream.rest[at : at + size]
            stream.rest = stream.rest[at + size :]
            assert not stream.disconnected, "a packet after DISCONNECT"
            assert (first == 0x10) == (not stream.accepted), "packet 0x%02x" % first
            self.packets.append((first, body))
            reply = self._reply(stream, first, body)
            if self.is_silent:
                self._late.append((stream, reply))
            else:
                stream.inbox += reply

    def answer_late(self) -> None:
        """Send the answers that the broker has withheld, and answer at once from now on."""
        self.is_silent = False
        for stream, reply in self._late:
            stream.inbox += reply
        self._late = []

    def _reply(self, stream: BrokerStream, first: int, body: bytes) -> bytes:
        kind = first & 0xF0
        if kind == 0x10:
            return self._accept(stream, body)
        if kind == 0x30:
            return self._take_publish(stream, first, body)
        if kind == 0xC0:
            return b"\xd0\x00"
        if kind == 0xE0:
            stream.disconnected = True
            return b""
        if kind == 0xF0:
            properties, _ = read_properties(body, 1)
            assert body[0] == 0x19 and properties[0x15] == b"X"
            return make_packet(0xF0, b"\x00\x04\x15\x00\x01X")  # type: ignore[no-any-return]
        packet_id = int.from_bytes(body[:2], "big")
        if kind in (0x80, 0xA0):
            return self._take_subscribe(first, body)
        if kind in (0x40, 0x50):
            assert packet_id in self._unacked, "an acknowledgement that is not due"
            self.acked.append(packet_id)
            if kind == 0x50 and body[2:3] < b"\x80":
                assert self._unacked[packet_id][2] == 2
                self._released.add(packet_id)
                return make_ack(0x62, packet_id)  # type: ignore[no-any-return]
            del self._unacked[packet_id]
            return b""
        if first == 0x62:
            self._open_ids.discard(packet_id)
            return make_ack(0x70, packet_id)  # type: ignore[no-any-return]
        assert kind == 0x70, "packet 0x%02x" % first
        self._released.discard(packet_id)
        self._unacked.pop(packet_id, None)
        return b""

    def _accept(self, stream: BrokerStream, body: bytes) -> bytes:
        connect = Connect(body)
        self.connects.append(connect)
        stream.accepted = True
        if connect.flags & 2:
            self._has_session = False
            self.filters.clear()
            self._open_ids.clear()
            self._unacked.clear()
            self._released.clear()
        properties = b"\x22\x00\x04" + (b"\x15\x00\x01X" if b"\x15\x00\x01X" in connect.properties else b"")
        present = b"\x01" if self._has_session else b"\x00"
        reply = make_packet(0x20, present, b"\x00", bytes((len(properties),)), properties)
        self._has_session = True
        for packet_id, (topic, payload, qos) in self._unacked.items():
            if packet_id in self._released:
                reply += make_ack(0x62, packet_id)
            else:
                reply += publish_packet(topic, payload, qos, packet_id, b"", 8)
        return reply  # type: ignore[no-any-return]

    def _take_subscribe(self, first: int, body: bytes) -> bytes:
        assert first in (0x82, 0xA2)
        _, at = read_properties(body, 2)
        codes = b""
        while at < len(body):
            name, at = read_string(body, at)
            if first == 0x82:
                self.filters.add(name)
                codes += bytes((body[at] & 3,))
                at += 1
            else:
                codes += b"\x00" if name in self.filters else b"\x11"
                self.filters.discard(name)
        assert codes
        return make_packet(0x90 if first == 0x82 else 0xB0, body[:2], b"\x00", codes)  # type: ignore[no-any-return]

    def _take_publish(self, stream: BrokerStream, first: int, body: bytes) -> bytes:
        qos = first >> 1 & 3
        topic, at = read_string(body, 0)
        packet_id = 0
        if qos:
            packet_id = int.from_bytes(body[at : at + 2], "big")
            at += 2
            assert packet_id
        properties, at = read_properties(body, at)
        if 0x23 in properties:
            topic = topic or stream.aliases[properties[0x23]]
            stream.aliases[properties[0x23]] = topic
        assert topic
        payload = body[at:]
        is_known = qos == 2 and packet_id in self._open_ids
        if qos == 1 and first & 8:
            is_known = self._last.get(packet_id) == payload
        if not is_known:
            self.received.append(payload)
            if 0x08 in properties and topic == b"ask":
                answer = b"\x09" + len(properties[0x09]).to_bytes(2, "big") + properties[0x09]
                stream.inbox += publish_packet(properties[0x08], b"answer", 0, 0, answer)
        if qos == 1:
            self._last[packet_id] = payload
        elif qos == 2:
            self._open_ids.add(packet_id)
        return make_ack(0x40 if qos == 1 else 0x50, packet_id) if qos else b""

    # ---- messages to the client

    def send(self, topic: bytes, payload: bytes, qos: int, properties: bytes = b"") -> int:
        """Send a message to the client; returns its packet identifier."""
        self._next_id += 1
        if qos:
            self._unacked[self._next_id] = (topic, payload, qos)
        self.stream.inbox += publish_packet(topic, payload, qos, self._next_id, properties)
        return self._next_id

    @property
    def unacked_count(self) -> int:
        return len(self._unacked)
