"""One fuzzed stream: a client, what its broker says, and what has to be true of the client all the while."""

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
from umqtt5.core.states import CLOSED, CLOSING, CONNECTED, CONNECTING
from umqtt5.properties import pack

_METHOD = b"\x15" + utf8_string(b"SCRAM-SHA-256")
_WITH_METHOD = make_packet(0x20, b"\x00\x00", bytes((len(_METHOD),)), _METHOD)
_RESUMED = b"\x20\x03\x01\x00\x00"

# the features that are in use, by name; more than one has to be small, so that buffers fill
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
_CLIENTS = (0x10, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0xA0, 0xC0, 0xE0, 0xF0)  # what a client sends


@dataclass(frozen=True)
class Case:
    """`chunks` of the broker's bytes arrive one after the other, at most `piece` bytes at once."""

    profile: str
    piece: int
    chunks: tuple[bytes, ...]


def connack_for(profile: str) -> bytes:
    """The CONNACK that a client of this profile takes."""
    return _WITH_METHOD if profile == "auth" else bytes(CONNACK)


class HandlerError(Exception):
    """What a handler here raises now and then."""


class AcceptingAuthMethod:
    """Takes every challenge."""

    method = "SCRAM-SHA-256"

    def start(self) -> bytes:
        return b"first"

    def challenge(self, data: bytes) -> bytes:
        return b"answer"

    def finish(self, data: bytes) -> None:
        pass


class CaseRun:
    """A case being played; any exception out of it is a finding."""

    def __init__(self, case: Case) -> None:
        self.case = case
        options = {"rx": 160, "tx": 128, "outbox": 256, "inflight": 4, **PROFILES[case.profile]}
        self.sim = sim = Simulation(**options)
        connection_module.getrandbits = lambda bits: 0  # no pause before the next connection
        sim.connect_reply = b""
        sim.read_size = case.piece
        self.client = client = sim.client
        self.got: list[tuple[int, str]] = []
        self.errors: list[Exception] = []
        self.ends: list[Any] = []
        client.on_error = self.errors.append
        client.on_state = self.state
        client.on_ack = client.on_subscribed = client.on_unsubscribed = self.look
        client.subscribe("#", self.handle, 2)
        client.subscribe("gone", self.handle)
        client.topic("out/topic")
        if case.profile == "pieces":
            streaming.receive(client, "a/#", self.begin, max_size=1000)
        if case.profile == "auth":
            client.auth = AcceptingAuthMethod()
        self.sizes = self.measure()

    def state(self, client: Any, up: bool, error: Any) -> None:
        """A fault ends with our DISCONNECT, unless it was the broker that ended it."""
        if up:
            return
        self.ends.append(error)
        link = self.sim.stream
        if isinstance(error, MQTTError) and not link.is_stalled:
            by_broker = (
                client.session.framer.first_byte >> 4 in (2, 14) and client.packet.reason == error.code
            )
            ours = link.written.endswith(bytes((0xE0, 1, error.code)))
            if not by_broker and not ours:
                self.errors.append(AssertionError(f"ended without DISCONNECT: {error!r}"))

    # ---- the user

    def handle(self, arrived: Any) -> None:
        """Look at all there is to see."""
        assert self.client.is_connected, "a message without a connection"
        self.got.append((arrived.packet_id, arrived.topic))
        assert len(arrived.payload) == len(arrived)
        for identifier in range(1, 43):
            arrived.property(identifier)
        if len(self.got) % 7 == 6:
            raise HandlerError
        if self.case.profile == "requests":
            self.client.respond(arrived, b"answer")
        elif len(self.got) % 3 == 2:
            self.call_within_limits(self.client.publish, "out/answer", b"x", len(self.got) % 2)

    def begin(self, arrived: Any, size: int) -> Any:
        assert self.client.is_connected, "a message without a connection"
        self.got.append((arrived.packet_id, arrived.topic))
        return None if size % 5 == 4 else lambda piece: None

    def look(self, *answer: Any) -> None:
        assert answer[-1].property(0x26) is None or answer[-1].property(0x26, 0)

    def call_within_limits(self, function: Any, *arguments: Any, **options: Any) -> None:
        """What a user does; a limit of the broker may forbid it."""
        try:
            function(*arguments, **options)
        except MQTTError:
            assert self.client.session.broker_limits[6] or self.client.session.broker_limits[3] < 2

    def act(self, turn: int) -> None:
        """Something of everything, between what arrives."""
        client, turn = self.client, turn % 9
        if turn < 3:
            self.call_within_limits(client.publish, "out/topic", b"1234", turn)
        elif turn == 3:
            self.call_within_limits(
                client.publish, "out/other", b"", 1, True, pack(user_properties=[("a", "b")])
            )
        elif turn == 4 and not client.session.subscriptions.find(b"gone"):
            client.subscribe("gone", self.handle, 1)
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
        """Returns in a word how it ended."""
        sim, client = self.sim, self.client
        client.connect(wait=False)
        client.poll()
        client.poll()
        sim.connect_reply = _RESUMED if self.case.profile == "resumed" else connack_for(self.case.profile)
        for turn, chunk in enumerate(self.case.chunks):
            link = sim.stream
            if link.closed:
                link = self.reconnected()
            link.inbox += chunk
            for _ in range(len(link.inbox) + 8):  # a byte a round at least
                client.poll()
                if link.closed or not link.inbox:
                    break
            assert not link.inbox or link.closed or client.session.rx_paused, "it stands still"
            if not link.closed:
                self.act(turn)
        how = self.ended()
        sim.stream.is_stalled = False
        for _ in range(4):
            client.poll()
        self.check()
        self.check_reconnect()
        return how

    def reconnected(self) -> Any:
        for _ in range(3):
            self.client.poll()
        if self.sim.stream.closed:  # after some refusals the next try comes late
            self.client.poll(self.client.next_timeout() + 1)
            self.client.poll()
        return self.sim.stream

    def ended(self) -> str:
        error = self.ends[0] if self.ends else None
        if error is None:
            return "goes on"
        return f"0x{error.code:02X}" if isinstance(error, MQTTError) else "no answer in time"

    # ---- what has to be true

    def measure(self) -> list[int]:
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
        for error in self.ends:
            good = isinstance(error, MQTTError) or (isinstance(error, OSError) and error.args[0] == ETIMEDOUT)
            assert error is None or good, repr(error)
            # what we end with is for a fault, what the broker ends with may be any reason
            assert not isinstance(error, MQTTError) or error.code >= 0x80 or error.code == 0, repr(error)
        for link in self.sim.streams:
            self.check_written(link.written)
        assert self.measure() == self.sizes, "a buffer grew"
        session = self.client.session
        assert session.state in (CONNECTING, CONNECTED) or self.sim.stream.closed, "it hangs"
        assert len(session.subscriptions.entries) <= 5, "subscriptions grew"
        assert len(self.client._topics) <= 8 and len(self.client._poll_hooks) <= 3

    def check_written(self, written: bytes) -> None:
        """What the client has written are whole packets of a client, CONNECT first and only there."""
        written_packets = split_packets(written)
        for place, one in enumerate(written_packets):
            assert one[0] & 0xF0 in _CLIENTS, one
            assert (one[0] & 0xF0 == 0x10) == (place == 0), written_packets
            assert one[0] & 0xF0 != 0xE0 or place == len(written_packets) - 1, "written behind DISCONNECT"
            try:
                decode_packet(one)
            except OhmqttError as error:
                raise AssertionError(f"{one!r}: {error}") from error

    def check_reconnect(self) -> None:
        """The session is opened once more, and works."""
        client, sim = self.client, self.sim
        before = len(self.ends)
        client.disconnect()
        assert client.session.state == CLOSED
        sim.connect_reply = connack_for(self.case.profile)
        sim.read_size = 1000
        client.connect()
        self.got.clear()
        link = sim.stream
        link.inbox += publish_packet(b"alive", b"x", 1, 77)
        client.poll()
        client.poll()
        assert self.got == [(77, "alive")], self.got
        assert b"\x40\x02\x00\x4d" in split_packets(link.written), split_packets(link.written)
        assert client.session.state != CLOSING and client.session.outbox.oldest(1) < 0
        client.disconnect()
        self.ends = self.ends[:before]
        self.check_written(link.written)


def run_case(case: Case) -> str:
    """Play a case; returns how it ended. Whatever it raises is a finding."""
    return CaseRun(case).run()
