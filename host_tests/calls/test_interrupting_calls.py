"""Each public call is made between instructions of the library, as a scheduled function may do it.

MicroPython runs a function of `micropython.schedule` between any two instructions. CPython's tracing
reproduces that: a tracer counts the instructions that run in the library, and makes the call in between. The
call must work, return a false value, or raise RuntimeError. In all cases the packets that the client writes
are valid and complete, and each message that a call has accepted reaches the broker once.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from host_tests.calls.answering_broker import AckingBroker
from tools.paths import LIB
from umqtt5 import streaming
from umqtt5.core.client import Client

LIBRARY = str(LIB / "umqtt5")


class Interrupter:
    """Calls `function` between instructions of the library, 1 to `distance` instructions apart.

    After `limit` calls it stops. Otherwise a program whose calls cause more work would never end.
    """

    def __init__(self, function: Callable[[], Any], distance: int, seed: int = 0, limit: int = 1500) -> None:
        self._function = function
        self._distance = distance
        self._random = random.Random(seed)
        self._left = self._random.randint(1, 100 * distance)
        self._limit = limit
        self._is_calling = False
        self.calls = 0
        self.refusals = 0

    def __enter__(self) -> Interrupter:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if self._is_calling or not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if "cpython" in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self._left -= 1
            if not self._left:
                self._left = self._random.randint(1, self._distance)
                self._call()
        return self._trace

    def _call(self) -> None:
        if self.calls == self._limit:
            return
        self._is_calling = True
        self.calls += 1
        try:
            self._function()
        except RuntimeError as error:
            assert "busy" in str(error)
            self.refusals += 1
        finally:
            self._is_calling = False


class Program:
    """A program that uses all packet types, and the calls that interrupt it."""

    def __init__(self) -> None:
        self.broker = AckingBroker()
        self.client: Client = self.broker.client
        self.accepted: list[bytes] = []  # payloads that `publish` has accepted
        self.handled: list[bytes] = []
        self.numbers = 0
        self.token = -1
        self.client.on_error = self._fail

    @staticmethod
    def _fail(error: Exception) -> None:
        raise AssertionError("a handler has raised") from error

    def publish(self, qos: int, topic: str = "out") -> None:
        self.numbers += 1
        payload = b"%d" % self.numbers
        if self.client.publish(topic, payload, qos):
            self.accepted.append(payload)

    def handle(self, message: Any) -> None:
        self.handled.append(message.payload)
        if len(self.handled) % 3 == 0:
            self.publish(1)

    def handle_with_token(self, message: Any, token: int) -> None:
        self.token = token

    def run(self) -> None:
        client = self.client
        client.subscribe("in/#", self.handle, 2)
        client.subscribe("manual", self.handle_with_token, 1, ack="manual")
        client.connect()
        for round_ in range(4):
            for qos in (0, 1, 2):
                self.publish(qos, "topic/%d" % (round_ % 3))
                self.broker.send(b"in/x", b"message %d %d" % (round_, qos), qos)
                client.poll(20)
            self.broker.send(b"manual", b"m", 1)
            client.poll(20)
            if self.token >= 0:
                client.ack(self.token)
            client.subscribe("more/%d" % round_, self.handle)
            client.poll(20)
            client.unsubscribe("more/%d" % round_)
            client.poll(20)
        for _ in range(40):
            client.poll(50)

    def check(self) -> None:
        """Check what the broker has received. Run the client until all messages are acknowledged."""
        for _ in range(100):
            self.client.poll(50)
        self.broker.check_packets()
        assert self.client.session.outbox.count == 0
        received = self.broker.received_payloads()
        assert sorted(received) == sorted(self.accepted), "lost or sent twice"
        assert len(self.handled) == len(set(self.handled))


CALLS: dict[str, Callable[[Program], Any]] = {
    "publish QoS 0": lambda p: p.publish(0),
    "publish QoS 0 to the topic of the program": lambda p: p.publish(0, "topic/1"),
    "publish QoS 1": lambda p: p.publish(1),
    "publish QoS 2": lambda p: p.publish(2),
    "subscribe": lambda p: p.client.subscribe("irq/%d" % (p.numbers % 3), p.handle, 1),
    "unsubscribe": lambda p: p.client.unsubscribe("irq/0"),
    "poll": lambda p: p.client.poll(),
    "connect": lambda p: p.client.connect(wait=False),
    "cancel": lambda p: p.client.cancel(300),
    "ack": lambda p: hasattr(p.client, "ack") and p.client.ack(p.token),
    "topic": lambda p: p.client.topic("irq"),
    "set_credentials": lambda p: p.client.set_credentials("u", "p"),
    "will": lambda p: p.client.will("w", b"x"),
    "next_timeout": lambda p: p.client.next_timeout(),
    "request": lambda p: p.client.request("ask", b"x", on_response=lambda m: None),
    "streaming.send": lambda p: streaming.send(p.client, "big", None, 0),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CALLS)
def test_a_call_between_any_two_instructions_breaks_nothing(name: str, seed: int) -> None:
    program = Program()
    with Interrupter(lambda: CALLS[name](program), 150, seed) as interrupter:
        program.run()
    if name in ("request", "streaming.send"):
        program.accepted += [m for m in program.broker.received_payloads() if m in (b"x", b"")]
    program.check()
    assert interrupter.calls > 100


def test_disconnect_between_any_two_instructions_closes_the_connection_cleanly() -> None:
    for at in range(50, 4000, 97):
        program = Program()
        done: list[bool] = []

        def disconnect(program: Program = program, done: list[bool] = done) -> None:
            if not done and program.client.is_connected:
                program.client.disconnect()
                done.append(True)

        with Interrupter(disconnect, at, at):
            program.client.subscribe("in/#", program.handle, 1)
            program.client.connect(wait=False)
            for _ in range(10):
                program.client.poll(20)
                program.publish(1)
                if program.client.is_connected:
                    program.broker.send(b"in/x", b"%d" % len(program.handled), 1)
        program.broker.check_packets()
        if done:
            assert not program.client.is_connected
