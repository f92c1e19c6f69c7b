"""A client with a simulated broker, one call to make, and the checks that follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_tests.calls.session_broker import SessionBroker
from umqtt5 import streaming
from umqtt5.core.client import Client

WORKS = "works"
AT_ONCE = "returns at once"
# states of a client
CONNECTED = "connected"
CONNECTING = "while connecting"
STOPPED = "without `connect`"
BIG = bytes(range(1, 251)) * 2  # a payload that is larger than the buffer of streaming.send


class NotHere(Exception):
    """The call cannot be made in this place, because it needs a message."""


@dataclass(frozen=True)
class Call:
    """A public call. `function(bench)` makes it; its result is False or 0 only if the call does nothing.

    `set_up(bench)` runs at once. `prepare(bench)` runs before the place is entered, when the client is
    connected for the first time. `check(bench)` runs after the place, if the call works.
    """

    name: str
    function: Callable[[Bench], Any]
    prepare: Callable[[Bench], Any] | None = None
    check: Callable[[Bench], Any] | None = None
    set_up: Callable[[Bench], Any] | None = None


class AuthMethod:
    """An authentication method without data. `on_start` is called in `start`."""

    method = "X"
    on_start: Callable[[], Any] | None = None

    def start(self) -> bytes:
        if self.on_start:
            self.on_start()
        return b""

    def challenge(self, data: bytes) -> bytes:
        return b""

    def finish(self, data: bytes) -> None:
        pass


class Reader:
    """A file-like object for streaming.send. `on_read` is called in each read."""

    def __init__(self, data: bytes, on_read: Callable[[], Any] | None = None) -> None:
        self._data = data
        self._at = 0
        self._on_read = on_read

    def tell(self) -> int:
        return self._at

    def seek(self, at: int) -> None:
        self._at = at

    def readinto(self, buf: Any) -> int:
        if self._on_read:
            self._on_read()
        n = min(len(buf), len(self._data) - self._at)
        buf[:n] = self._data[self._at : self._at + n]
        self._at += n
        return n


class Bench:
    """A program with one client, which makes `call` once, when a place calls `enter`."""

    def __init__(self, call: Call, folder: Path, **options: Any) -> None:
        self.call = call
        self.folder = folder
        self.outcome: str | None = None
        self.is_entered = False
        self.state = CONNECTED  # state of the client when the call was made
        self.message: Any = None  # the message of the handler that is running
        self.accepted: list[bytes] = []  # payloads that must arrive once
        self.possible: list[bytes] = []  # payloads that may arrive once
        self.sent: list[bytes] = []  # payloads of QoS 1 and 2 that the broker has sent
        self.handled: list[bytes] = []
        self.answers: list[Any] = []
        self.errors: list[Exception] = []
        self.tokens: list[int] = []
        self.identifiers: dict[int, bytes] = {}  # payload by packet identifier
        self.auth = AuthMethod()
        self.journal: Any = None
        self.may_repeat = False  # whether a message may be handled again, because its handler was interrupted
        self._numbers = 0
        self._ended: set[int] = set()  # packet identifiers that have ended in a running `publish`
        self._is_prepared = False
        self.broker = SessionBroker(aliases=4, topic_alias_maximum=4, **options)
        self.client: Client = self.broker.client
        self.client.auth = self.auth
        self.client.on_error = self.errors.append
        self.client.subscribe("in/#", self.handle, 2)
        self.client.subscribe("here", self.handle_and_enter, 2)
        self.client.subscribe("manual", self.handle_manually, 1, ack="manual")

        if call.set_up:
            call.set_up(self)

    # ---- parts of the program

    def number(self) -> bytes:
        self._numbers += 1
        return b"%d" % self._numbers

    def handle(self, message: Any) -> None:
        self.handled.append(message.payload)

    def handle_and_enter(self, message: Any) -> None:
        self.handled.append(message.payload)
        self.message = message
        self.enter()
        assert message.payload == self.handled[-1], "the call has changed the message"
        self.message = None

    def handle_manually(self, message: Any, token: int) -> None:
        self.handled.append(message.payload)
        self.tokens.append(token)

    def send(self, topic: bytes, qos: int) -> None:
        payload = b"in %s" % self.number()
        if qos and not topic.startswith(b"manual"):  # a message without an acknowledgement may be sent again
            self.sent.append(payload)
        self.broker.send(topic, payload, qos)

    def connect(self) -> None:
        """Connect for the first time, and prepare the call."""
        self.client.connect()
        self.client.poll(50)
        self.prepare()

    def prepare(self) -> None:
        if self.call.prepare and not self._is_prepared:
            self._is_prepared = True
            self.call.prepare(self)

    def publish(self, qos: int, topic: Any = "out", **options: Any) -> Any:
        payload = self.number()
        self.possible.append(payload)
        self._ended.clear()
        result = self.client.publish(topic, payload, qos, **options)
        if result in self._ended:
            return result  # a callback inside `publish` has cancelled this message
        self.possible.remove(payload)
        if result:
            # at QoS 0 the connection may be lost before the message is written
            self.identifiers[result] = payload
            (self.accepted if qos or self.client.is_connected else self.possible).append(payload)
        return result

    def end_message(self, packet_id: int) -> None:
        """Note that a message was cancelled or dropped."""
        self._ended.add(packet_id)
        payload = self.identifiers.pop(packet_id, None)
        if payload in self.accepted:
            self.accepted.remove(payload)
            self.possible.append(payload)

    def send_stream(self, qos: int, on_read: Callable[[], Any] | None = None) -> Any:
        self.possible.append(BIG)
        result = streaming.send(self.client, "big", Reader(BIG, on_read), len(BIG), qos)
        if result and qos:
            self.possible.remove(BIG)
            self.accepted.append(BIG)
        return result

    def enter(self, *_: Any) -> None:
        """Make the call, if it was not made before, and record its outcome."""
        if self.is_entered:
            return
        self.is_entered = True
        if not self.client._should_connect:
            self.state = STOPPED
        elif not self.client.is_connected:
            self.state = CONNECTING
        before = self.broker.now
        try:
            value = self.call.function(self)
        except NotHere:
            return
        except Exception as error:
            # on CPython a subclass of OSError may be raised
            self.outcome = "`OSError`" if isinstance(error, OSError) else "`%s`" % type(error).__name__
            assert str(error), "an error without words"
            return
        if value is False or value == 0:
            self.outcome = "`%s`" % value
        elif value == "waited":
            self.outcome = WORKS if self.broker.now >= before + 30 else AT_ONCE
        else:
            self.outcome = WORKS

    # ---- after the call

    def finish(self) -> None:
        """Continue the program, lose the connection, and check that everything arrives once."""
        broker, client = self.broker, self.client
        broker.broker_listens = broker.is_writable = True
        broker.answer_late()
        assert self.is_entered, "the place was not reached"
        self.check_idle()
        for _ in range(60):
            client.poll(20)
        if self.outcome == WORKS and self.call.check:
            self.call.check(self)
        client.connect()
        self._exchange()
        broker.cut()
        client.poll(10)
        self._exchange()
        for _ in range(100):
            client.poll(50)
        self.check_idle()
        assert not client.session.outbox.count and not streaming.is_sending(client)
        assert not self.errors, self.errors
        for payload in self.accepted:
            assert broker.received.count(payload) == 1, (payload, broker.received)
        for payload in set(broker.received) - set(self.accepted):
            assert payload in self.possible and broker.received.count(payload) == 1, payload
        for payload in self.sent:
            count = self.handled.count(payload)
            assert count == 1 or (self.may_repeat and count == 2), payload
        assert not broker.unacked_count, "a message was not acknowledged"
        assert b"in/#" in broker.filters and b"here" in broker.filters
        client.disconnect()
        assert broker.stream.closed and broker.stream.disconnected

    def _exchange(self) -> None:
        client = self.client
        for _ in range(100):
            if client.is_connected:
                break
            client.poll(1000)
        assert client.is_connected
        for qos in (0, 1, 2):
            for _ in range(20):
                if self.publish(qos):
                    break
                client.poll(50)
            else:
                raise AssertionError("nothing can be published")
            self.send(b"in/x", qos)
        self.send(b"manual", 1)
        client.poll(200)
        while self.tokens:
            client.ack(self.tokens.pop())

    def check_idle(self) -> None:
        """Check that no call has left the client in the middle of something."""
        client = self.client
        assert not client.session.is_busy and not client._is_polling
        assert not client.session.close_request
