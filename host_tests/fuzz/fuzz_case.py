"""Run one fuzz case: feed its bytes to a client and check the invariants of the client."""

from __future__ import annotations

from dataclasses import dataclass
from errno import ETIMEDOUT
from typing import Any

from ohmqtt.error import MQTTError as OhmqttError
from ohmqtt.packet import decode_packet
from simulation import Simulation

from helper import CONNACK, make_packet, publish_packet, utf8_string
from host_tests.interop.reference_packets import split_packets
from umqtt5 import MQTTError, streaming
from umqtt5.core import connection as connection_module
from umqtt5.core.states import CLOSED, CONNECTED, CONNECTING
from umqtt5.properties import pack

_METHOD = b"\x15" + utf8_string(b"SCRAM-SHA-256")
_WITH_METHOD = make_packet(0x20, b"\x00\x00", bytes((len(_METHOD),)), _METHOD)
_RESUMED = b"\x20\x03\x01\x00\x00"

# client options by profile name; several profiles have small buffers so that these fill up
PROFILES: dict[str, dict[str, Any]] = {
    "plain": {},
    "small": {"rx": 64, "tx": 64, "outbox": 96, "inflight": 2, "aliases": 1},
    "aliases": {"topic_alias_maximum": 2},
    "strict": {"strict": True, "inflight": 2},
    "silent": {"properties": pack(request_problem_information=0, request_response_information=1)},
    "pieces": {"rx": 64, "topic_alias_maximum": 1},
    "auth": {},
    "requests": {},
    "resumed": {"session_expiry": 100, "inflight": 3},
    "stalled": {"tx": 64},
}
# fixed headers, without flags, of the packets that a client may send
_CLIENT_PACKETS = (0x10, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0xA0, 0xC0, 0xE0, 0xF0)


@dataclass(frozen=True)
class Case:
    """`chunks` of bytes from the broker, which arrive in order, at most `read_size` bytes per read."""

    profile: str
    read_size: int
    chunks: tuple[bytes, ...]


def connack_for(profile: str) -> bytes:
    """Return a CONNACK that a client with this profile accepts."""
    return _WITH_METHOD if profile == "auth" else bytes(CONNACK)


class HandlerError(Exception):
    """The exception that the message handler of these cases raises from time to time."""


class AcceptingAuthMethod:
    """An authentication method that accepts every challenge."""

    method = "SCRAM-SHA-256"

    def start(self) -> bytes:
        return b"first"

    def challenge(self, data: bytes) -> bytes:
        return b"answer"

    def finish(self, data: bytes) -> None:
        pass


class CaseRun:
    """One run of a case. Any exception that `run` raises is a finding."""

    def __init__(self, case: Case) -> None:
        self.case = case
        options = {"rx": 160, "tx": 128, "outbox": 256, "inflight": 4, **PROFILES[case.profile]}
        self.sim = sim = Simulation(**options)
        connection_module.getrandbits = lambda bits: 0  # reconnect without back-off
        sim.connect_reply = b""
        sim.read_size = case.read_size
        self.client = client = sim.client
        self.received: list[tuple[int, str]] = []
        self.errors: list[Exception] = []
        self.link_errors: list[Any] = []
        client.on_error = self.errors.append
        client.on_state = self.on_state
        client.on_ack = client.on_subscribed = client.on_unsubscribed = self.on_acknowledged
        client.subscribe("#", self.on_message, 2)
        client.subscribe("gone", self.on_message)
        client.topic("out/topic")
        if case.profile == "pieces":
            streaming.receive(client, "a/#", self.on_stream, max_size=1000)
        if case.profile == "auth":
            client.auth = AcceptingAuthMethod()
        self.sizes = self.buffer_sizes()

    def on_state(self, client: Any, up: bool, error: Any) -> None:
        """Check that the client ended the connection with DISCONNECT, if the broker did not end it."""
        if up:
            return
        self.link_errors.append(error)
        link = self.sim.stream
        if isinstance(error, MQTTError) and not link.is_stalled:
            by_broker = client.session.framer.first_byte in (0x20, 0xE0) and error.from_broker
            ours = link.written.endswith(bytes((0xE0, 1, error.code)))
            if not by_broker and not ours:
                self.errors.append(AssertionError(f"ended without DISCONNECT: {error!r}"))

    # ---- the application

    def on_message(self, message: Any) -> None:
        """Read every property of a message; then raise, respond or publish."""
        assert self.client.is_connected, "a message without a connection"
        self.received.append((message.packet_id, message.topic))
        assert len(message.payload) == len(message)
        for identifier in range(1, 43):
            message.property(identifier)
        if len(self.received) % 7 == 6:
            raise HandlerError
        if self.case.profile == "requests":
            self.client.respond(message, b"answer")
        elif len(self.received) % 3 == 2:
            self.call_within_limits(self.client.publish, "out/answer", b"x", len(self.received) % 2)

    def on_stream(self, message: Any, size: int) -> Any:
        assert self.client.is_connected, "a message without a connection"
        self.received.append((message.packet_id, message.topic))
        return None if size % 5 == 4 else lambda piece: None

    def on_acknowledged(self, *answer: Any) -> None:
        assert answer[-1].property(0x26) is None or answer[-1].property(0x26, 0)

    def call_within_limits(self, function: Any, *arguments: Any, **options: Any) -> None:
        """Call a method of the client. MQTTError is valid only if the broker limits packet size or QoS."""
        try:
            function(*arguments, **options)
        except MQTTError:
            assert self.client.session.broker_limits[6] or self.client.session.broker_limits[3] < 2

    def call_api(self, turn: int) -> None:
        """Call one of the client's methods, a different one each turn."""
        client, turn = self.client, turn % 9
        if turn < 3:
            self.call_within_limits(client.publish, "out/topic", b"1234", turn)
        elif turn == 3:
            self.call_within_limits(
                client.publish, "out/other", b"", 1, True, pack(user_properties=[("a", "b")])
            )
        elif turn == 4 and not client.session.subscriptions.find(b"gone"):
            client.subscribe("gone", self.on_message, 1)
        elif turn == 4:
            if client.session.subscriptions.find(b"gone").is_wanted:
                client.unsubscribe("gone")
        elif turn == 5 and self.case.profile == "auth":
            self.call_within_limits(client.reauthenticate, wait=False)
        elif turn == 5 and self.case.profile == "requests":
            self.call_within_limits(client.request, "ask", b"x", timeout=500, on_response=lambda answer: None)
        elif turn == 6:
            client.poll(300)
        elif turn == 7 and self.case.profile == "stalled":
            self.sim.stream.is_stalled = True
        elif turn == 8:
            self.sim.stream.is_stalled = False

    # ---- the stream

    def run(self) -> str:
        """Run the case and return how its first connection ended."""
        sim, client = self.sim, self.client
        client.connect(wait=False)
        client.poll()
        client.poll()
        sim.connect_reply = _RESUMED if self.case.profile == "resumed" else connack_for(self.case.profile)
        for turn, chunk in enumerate(self.case.chunks):
            link = sim.stream
            if link.closed:
                link = self.reconnect()
            link.inbox += chunk
            for _ in range(len(link.inbox) + 8):  # each poll reads at least one byte
                client.poll()
                if link.closed or not link.inbox:
                    break
            assert not link.inbox or link.closed or client.session.rx_paused, "input is not read"
            if not link.closed:
                self.call_api(turn)
        ending = self.ending()
        sim.stream.is_stalled = False
        for _ in range(4):
            client.poll()
        self.check()
        self.check_reconnect()
        return ending

    def reconnect(self) -> Any:
        for _ in range(3):
            self.client.poll()
        if self.sim.stream.closed:  # after several refusals the next attempt is later
            self.client.poll(self.client.next_timeout() + 1)
            self.client.poll()
        return self.sim.stream

    def ending(self) -> str:
        error = self.link_errors[0] if self.link_errors else None
        if error is None:
            return "still connected"
        return f"0x{error.code:02X}" if isinstance(error, MQTTError) else "timeout"

    # ---- invariants

    def buffer_sizes(self) -> list[int]:
        session = self.client.session
        buffers = [session.framer.rx, session.framer._chunk, session.tx, session.outbox.arena]
        buffers += [
            session.outbox.states,
            session.received_ids,
            session._alias_topics,
            session.broker_limits,
            session.wait_started,
        ]
        return [len(buffer) for buffer in buffers] + [len(session.aliases or b"")]

    def check(self) -> None:
        for error in self.errors:
            assert isinstance(error, (HandlerError, MQTTError)), repr(error)
        for error in self.link_errors:
            good = isinstance(error, MQTTError) or (isinstance(error, OSError) and error.args[0] == ETIMEDOUT)
            assert error is None or good, repr(error)
            # 0 is possible, because the broker may disconnect without an error
            assert not isinstance(error, MQTTError) or error.code >= 0x80 or error.code == 0, repr(error)
        for link in self.sim.streams:
            self.check_written(link.written)
        assert self.buffer_sizes() == self.sizes, "a buffer grew"
        session = self.client.session
        assert session.state in (CONNECTING, CONNECTED) or self.sim.stream.closed, "the client hangs"
        assert len(session.subscriptions.entries) <= 5, "subscriptions grew"
        assert len(self.client._topics) <= 8 and len(self.client._poll_hooks) <= 3

    def check_written(self, written: bytes) -> None:
        """Check that the client wrote complete, valid packets: CONNECT first and once, DISCONNECT last."""
        packets = split_packets(written)
        for index, packet in enumerate(packets):
            assert packet[0] & 0xF0 in _CLIENT_PACKETS, packet
            assert (packet[0] & 0xF0 == 0x10) == (index == 0), packets
            assert packet[0] & 0xF0 != 0xE0 or index == len(packets) - 1, "written after DISCONNECT"
            try:
                decode_packet(packet)
            except OhmqttError as error:
                raise AssertionError(f"{packet!r}: {error}") from error

    def check_reconnect(self) -> None:
        """Check that the client can connect again, receive a message and acknowledge it."""
        client, sim = self.client, self.sim
        before = len(self.link_errors)
        client.disconnect()
        assert client.session.state == CLOSED
        sim.connect_reply = connack_for(self.case.profile)
        sim.read_size = 1000
        client.connect()
        self.received.clear()
        link = sim.stream
        link.inbox += publish_packet(b"alive", b"x", 1, 77)
        client.poll()
        client.poll()
        assert self.received == [(77, "alive")], self.received
        assert b"\x40\x02\x00\x4d" in split_packets(link.written), split_packets(link.written)
        self.acknowledge(link)
        assert client.session.state == CONNECTED and client.session.outbox.oldest(1) < 0
        client.disconnect()
        self.link_errors = self.link_errors[:before]
        self.check_written(link.written)

    def acknowledge(self, link: Any) -> None:
        """Acknowledge what the client has written, until it writes nothing more.

        After invalid answers the client sends its messages one at a time, see `optional.give_up`.
        """
        answered = 0
        for _ in range(20):
            packets = split_packets(link.written)
            for packet in packets[answered:]:
                link.inbox += _acknowledgement(packet)
            if answered == len(packets):
                break
            answered = len(packets)
            self.client.poll()
            self.client.poll()


def _acknowledgement(packet: bytes) -> bytes:
    """Return the packet that acknowledges a packet of the client; b"" if none is due."""
    kind, qos = packet[0] >> 4, packet[0] >> 1 & 3
    at = 2 if packet[1] < 128 else 3
    if kind == 3 and qos:
        at += 2 + int.from_bytes(packet[at : at + 2], "big")
        return make_packet(0x40 if qos == 1 else 0x50, packet[at : at + 2])
    if kind == 6:
        return make_packet(0x70, packet[at : at + 2])
    if kind in (8, 10):  # each SUBSCRIBE and UNSUBSCRIBE of this client has one filter
        return make_packet((kind + 1) << 4, packet[at : at + 2], b"\x00\x00")
    return b""


def run_case(case: Case) -> str:
    """Run a case and return how its first connection ended. Any exception is a finding."""
    return CaseRun(case).run()
