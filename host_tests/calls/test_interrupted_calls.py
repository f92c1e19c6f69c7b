"""Calls that are interrupted: by KeyboardInterrupt, by an exception of user code, or by the same call."""

from __future__ import annotations

import dis
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import ECONNREFUSED, ETIMEDOUT
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from host_tests.calls.bench import Bench, Call
from host_tests.calls.places import CALLBACK, GROUPS, PLACES, Place
from host_tests.calls.session_broker import SessionBroker
from tools.paths import LIB
from umqtt5 import streaming
from umqtt5.journal import Journal
from umqtt5.link_statistics import LinkStatistics
from umqtt5.properties import pack

IDLE = Call("nothing", lambda b: None)


def interrupt(b: Bench) -> None:
    b.may_repeat = True
    raise KeyboardInterrupt


# ---- KeyboardInterrupt


@pytest.mark.parametrize("place", PLACES, ids=[place.name for place in PLACES])
def test_a_program_continues_after_a_keyboard_interrupt_in_any_place(place: Place, tmp_path: Path) -> None:
    b = Bench(Call("interrupt", interrupt), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        place.run(b)
    b.client.on_error = b.errors.append
    b.finish()


@pytest.mark.parametrize(
    "place", [place for place in PLACES if place.group == CALLBACK and "handler" in place.name]
)
def test_disconnect_after_an_interrupted_handler_sends_disconnect(place: Place, tmp_path: Path) -> None:
    b = Bench(Call("interrupt", interrupt), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        place.run(b)
    was_connected = b.client.is_connected
    b.client.disconnect()
    assert b.broker.stream.closed and b.broker.stream.disconnected == was_connected
    assert was_connected or "link lost" in place.name


class KeyPress:
    """Raises KeyboardInterrupt in the library after `count` jumps, as MicroPython does.

    With `function` only the jumps of the function with this name count.
    """

    def __init__(self, count: int, function: str = "") -> None:
        self._left = count
        self._function = function
        self._is_after_jump = False

    def __enter__(self) -> KeyPress:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if (
            not frame.f_code.co_filename.startswith(str(LIB / "umqtt5"))
            or "cpython" in frame.f_code.co_filename
        ):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and self._function in ("", frame.f_code.co_name):
            if self._is_after_jump:
                self._is_after_jump = False
                self._left -= 1
                if self._left == 0:
                    raise KeyboardInterrupt
            self._is_after_jump = "JUMP" in dis.opname[frame.f_code.co_code[frame.f_lasti]]
        return self._trace


def run_program(b: Bench) -> None:
    b.client.connect()
    for i in range(6):
        for qos in (0, 1, 2):
            b.publish(qos, "t/%d" % (i % 2))
            b.send(b"in/x", qos)
            b.client.poll(20)
        b.client.subscribe("more/%d" % i, b.handle)


# functions that change several things, and change them in a loop
FUNCTIONS = ("", "free", "add", "_publish", "rewind", "load_next_message", "_flush", "poll_once")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_client_works_after_a_keyboard_interrupt_at_any_jump(function: str, tmp_path: Path) -> None:
    choose = random.Random(1)
    reached = 0
    for number in range(1, 40 if not function else 12):
        b = Bench(IDLE, tmp_path)
        b.is_entered = True
        try:
            with KeyPress(number if function else choose.randint(1, 3000), function):
                run_program(b)
        except KeyboardInterrupt:
            reached += 1
        b.check_idle()
        for stream in b.broker.streams[:-1]:
            assert stream.closed
        b.client.connect()
        b.broker.received.clear()
        b.accepted.clear()
        b.handled.clear()
        b.sent.clear()
        b.client.poll(300)
        b._exchange()
        assert set(b.accepted) <= set(b.broker.received), "the client publishes no more"
        assert set(b.sent) <= set(b.handled), "the client receives no more"
    assert reached > 5


# ---- exceptions of user code


def test_an_on_error_that_raises_does_not_end_poll(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> None:
        raise ValueError("from on_error")

    broker = SessionBroker()
    broker.client.on_error = fail
    broker.client.subscribe("a", lambda m: 1 // 0, 1)
    broker.client.connect()
    broker.send(b"a", b"x", 1)
    broker.client.poll(50)
    assert broker.client.is_connected and not broker.unacked_count
    assert "from on_error" in capsys.readouterr().err


def test_a_transport_that_raises_value_error_is_tried_again_with_a_delay() -> None:
    broker = SessionBroker()
    statistics = LinkStatistics(broker.client)
    good = broker.client._transport

    def transport(host: str, port: int) -> Any:
        broker.connect_times.append(broker.now)
        raise ValueError("no such network")

    broker.client._transport = transport
    with pytest.raises(ValueError, match="no such network"):
        broker.client.connect()
    broker.client.poll(100_000)
    assert len(broker.connect_times) == 1, "`connect` has failed, so `poll` must not try again"
    broker.client.connect(wait=False)
    for _ in range(3):
        with pytest.raises(ValueError):
            broker.client.poll(100_000)
    assert broker.connect_times[-1] - broker.connect_times[1] > 500
    assert statistics.snapshot()["drops_network"] == 4
    broker.client._transport = good
    broker.client.poll(100_000)
    assert broker.client.is_connected


# ---- calls inside other calls


def test_connect_raises_if_a_scheduled_connect_fails() -> None:
    broker = SessionBroker()
    broker.is_silent = True
    raised = []

    def connect() -> None:
        try:
            broker.client.connect()
        except OSError as error:
            raised.append(error.errno)

    broker.on_sleep = connect
    with pytest.raises(OSError) as caught:
        broker.client.connect()
    assert raised == [ETIMEDOUT] and caught.value.errno == ETIMEDOUT
    broker.broker_listens = False
    with pytest.raises(OSError) as caught:
        broker.client.connect()
    assert caught.value.errno == ECONNREFUSED


def test_connect_returns_false_if_a_callback_disconnects() -> None:
    broker = SessionBroker()
    broker.client.connect()
    broker.client.disconnect()
    broker.client.on_state = lambda client, up, error: up and client.disconnect()
    assert broker.client.connect() is False and not broker.client.is_connected


def test_a_message_is_accepted_while_the_transport_resolves_a_name() -> None:
    broker = SessionBroker()
    accepted = []
    broker.on_connect = lambda: accepted.append(broker.client.publish("a", b"x", 1))
    broker.client.connect()
    broker.client.poll(50)
    assert accepted == [1] and broker.received == [b"x"]


def test_disconnect_in_the_transport_function_closes_the_stream() -> None:
    broker = SessionBroker()
    broker.on_connect = lambda: broker.client.disconnect()
    broker.client.connect()
    broker.client.poll(100_000)
    assert not broker.client.is_connected and broker.stream.closed and len(broker.streams) == 1


def test_on_state_cannot_start_a_second_round_when_publish_notices_a_lost_link() -> None:
    broker = SessionBroker()
    broker.client.connect()
    results = []
    broker.client.on_state = lambda client, up, error: results.append(
        (up, client.connect(), client.poll(1000))
    )
    broker.cut()
    before = broker.now
    broker.client.publish("a", b"x", 1)
    assert results == [(False, False, False)] and broker.now <= before + 5
    broker.client.poll(20_000)
    assert broker.client.is_connected and broker.received == [b"x"]


def test_a_journal_is_refused_if_messages_would_be_lost(tmp_path: Path) -> None:
    broker = SessionBroker()
    broker.client.publish("a", b"x", 1)
    with pytest.raises(ValueError, match="publishes"):
        Journal(broker.client, str(tmp_path / "outbox"))
    broker.client.connect()
    broker.client.poll(50)
    assert broker.received == [b"x"]


@pytest.mark.parametrize("size", (1, 3, 20))
def test_streaming_receive_keeps_the_bytes_of_an_incomplete_packet(size: int) -> None:
    broker = SessionBroker()
    got: list[bytes] = []
    broker.client.subscribe("#", lambda m: got.append(m.payload), 1)
    broker.client.connect()
    broker.client.poll(20)
    broker.send(b"a", b"payload" * 10, 1)
    rest = broker.stream.inbox[size:]
    broker.stream.inbox = broker.stream.inbox[:size]
    broker.client.poll(20)
    streaming.receive(broker.client, "big", lambda message, n: None)
    broker.stream.inbox += rest
    broker.client.poll(20)
    assert got == [b"payload" * 10] and len(broker.streams) == 1
    broker.cut()
    broker.client.poll(10_000)
    broker.send(b"big", b"x" * 5000, 1)
    broker.client.poll(50)
    assert broker.client.is_connected and len(broker.streams) == 2


# ---- a call that interrupts itself, while its module is imported

FIRST_CALLS: dict[str, Callable[[Bench], Any]] = {
    "request": lambda b: b.client.request("ask", b"x", on_response=b.answers.append),
    "responder": lambda b: b.client.responder("question", lambda m: b"y"),
    "publish with properties": lambda b: b.publish(1, properties=pack(content_type="text")),
    "publish and wait": lambda b: b.publish(1, wait=1000),
    "will": lambda b: b.client.will("w", b"x", properties=pack(content_type="text")),
    "subscribe to a list": lambda b: b.client.subscribe(["x", "y"], b.handle),
    "unsubscribe with properties": lambda b: b.client.unsubscribe("x", pack(user_properties=[("a", "b")])),
    "disconnect with a reason": lambda b: b.client.disconnect(4),
    "reauthenticate": lambda b: b.client.reauthenticate(wait=False),
}
LAZY_MODULES = (
    "request",
    "respond",
    "optional.property_rules",
    "optional.blocking_publish",
    "optional.subscribe_options",
    "optional.disconnect",
    "optional.enhanced_auth",
)


@pytest.mark.parametrize("name", FIRST_CALLS)
def test_a_call_interrupts_the_import_of_its_module(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = FIRST_CALLS[name]
    for at in range(1, 1200, 37):
        b = Bench(IDLE, tmp_path)
        b.connect()
        for module in LAZY_MODULES:
            monkeypatch.delitem(sys.modules, "umqtt5." + module, raising=False)
        left = [at]

        def trace(frame: FrameType, event: str, _: object, b: Bench = b, left: list[int] = left) -> Any:
            if "umqtt5" not in frame.f_code.co_filename or left[0] < 0:
                return None
            frame.f_trace_opcodes = True
            left[0] -= event == "opcode"
            if not left[0]:
                left[0] = -1
                try:
                    call(b)
                except RuntimeError as error:
                    assert "busy" in str(error)
            return trace

        sys.settrace(trace)
        try:
            call(b)
        except MQTT_ERRORS:
            assert name == "publish and wait"  # the scheduled call was `disconnect`
        finally:
            sys.settrace(None)
        b.is_entered = True
        b.finish()


MQTT_ERRORS = (OSError,)


@contextmanager
def interrupted(at: int, function: Callable[[], object]) -> Iterator[None]:
    """Call `function` before the instruction of the library with the number `at`, as a scheduled function."""
    left = at

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if "umqtt5" not in frame.f_code.co_filename or left < 0:
            return None
        frame.f_trace_opcodes = True
        left -= event == "opcode"
        if not left:
            left = -1
            with suppress(RuntimeError):
                function()
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)


def test_a_blocking_publish_keeps_its_options_if_another_interrupts_it() -> None:
    for at in range(1, 400, 7):
        broker = SessionBroker()
        broker.client.connect()
        with interrupted(at, partial(broker.client.publish, "b", b"scheduled", 0, wait=1000)):
            broker.client.publish("a", b"main", 2, wait=1000)
        found = {body[-4:]: first >> 1 & 3 for first, body in broker.packets if first & 0xF0 == 0x30}
        assert found[b"main"] == 2 and found.get(b"uled", 0) == 0, at


def test_all_groups_have_places() -> None:
    assert {place.group for place in PLACES}.issuperset(GROUPS)


def test_a_message_whose_handler_was_interrupted_is_sent_again() -> None:
    broker = SessionBroker()
    got: list[bytes] = []

    def handle(message: Any) -> None:
        got.append(message.payload)
        if len(got) == 1:
            raise KeyboardInterrupt

    broker.client.subscribe("a", handle, 1)
    broker.client.connect()
    broker.client.poll(20)
    broker.send(b"a", b"x", 1)
    with pytest.raises(KeyboardInterrupt):
        broker.client.poll(20)
    assert broker.client.is_connected
    broker.client.poll(10_000)
    assert got == [b"x", b"x"] and not broker.unacked_count and len(broker.streams) == 2


def test_a_scheduled_disconnect_ends_connect() -> None:
    for at in range(1, 2500, 3):
        broker = SessionBroker()
        with interrupted(at, broker.client.disconnect):
            broker.client.connect()
        assert broker.now < 30_000, at
