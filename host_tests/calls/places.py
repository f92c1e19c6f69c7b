"""The places where a program can call the library.

Each function brings a client there, and calls `Bench.enter`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from helper import make_packet
from host_tests.calls.bench import Bench
from umqtt5 import streaming
from umqtt5.optional.overflow_policy import attach as attach_overflow_policy

MAIN = "main program"
CALLBACK = "handler or callback"
WAITING = "scheduled function, client waits"
WORKING = "scheduled function, client works"
UNDOCUMENTED = "undocumented"
GROUPS = (MAIN, CALLBACK, WAITING, WORKING)


@dataclass(frozen=True)
class Place:
    """A place. `group` is its column in the document, or UNDOCUMENTED."""

    name: str
    group: str
    run: Callable[[Bench], None]


PLACES: list[Place] = []


def place(name: str, group: str) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def add(run: Callable[[Bench], None]) -> Callable[[Bench], None]:
        PLACES.append(Place(name, group, run))
        return run

    return add


def _poll_until_entered(b: Bench, ms: int = 20) -> None:
    for _ in range(50):
        if b.is_entered:
            return
        b.client.poll(ms)


# ---- the main program


@place("before connect", MAIN)
def before_connect(b: Bench) -> None:
    b.enter()


@place("while the stream opens", MAIN)
def opening(b: Bench) -> None:
    b.broker.is_writable = False
    b.client.connect(wait=False)
    b.client.poll(10)
    b.broker.on_sleep = lambda: setattr(b.broker, "is_writable", True)
    b.enter()


@place("before CONNACK", MAIN)
def connecting(b: Bench) -> None:
    b.broker.is_silent = True
    b.client.connect(wait=False)
    b.client.poll(10)
    b.broker.on_sleep = b.broker.answer_late
    b.enter()


@place("connected", MAIN)
def connected(b: Bench) -> None:
    b.connect()
    b.enter()


@place("while messages wait for their acknowledgements", MAIN)
def unacknowledged(b: Bench) -> None:
    b.connect()
    b.broker.is_silent = True
    for qos in (1, 2):
        b.publish(qos)
    b.send(b"in/x", 2)
    b.client.poll(10)
    b.broker.on_sleep = b.broker.answer_late
    b.enter()


# the outcome of a call depends on whether it notices that the connection is lost
@place("link lost, not noticed yet", UNDOCUMENTED)
def lost_unnoticed(b: Bench) -> None:
    b.connect()
    b.broker.cut()
    b.enter()


@place("link lost", MAIN)
def lost(b: Bench) -> None:
    b.connect()
    b.broker.cut()
    b.broker.broker_listens = False
    b.client.poll(10)
    b.broker.broker_listens = True
    b.enter()


@place("after disconnect", MAIN)
def disconnected(b: Bench) -> None:
    b.connect()
    b.client.disconnect()
    b.enter()


# ---- handlers and callbacks


def _handler(topic: bytes, qos: int) -> Callable[[Bench], None]:
    def run(b: Bench) -> None:
        b.connect()
        b.send(topic, qos)
        b.send(b"in/x", 1)  # a message in the same read
        _poll_until_entered(b)

    return run


for _qos in (0, 1, 2):
    place("handler, QoS %d" % _qos, CALLBACK)(_handler(b"here", _qos))


@place("handler that acknowledges manually", CALLBACK)
def manual_handler(b: Bench) -> None:
    def handle(message: Any, token: int) -> None:
        b.handle_manually(message, token)
        b.message = message
        b.enter()
        b.message = None

    b.client.subscribe("manual/here", handle, 1, ack="manual")
    b.connect()
    b.send(b"manual/here", 1)
    _poll_until_entered(b)


@place("on_state, connected, in poll", CALLBACK)
def on_state_up(b: Bench) -> None:
    b.connect()
    b.broker.cut()
    b.client.on_state = lambda client, up, error: up and b.enter()
    _poll_until_entered(b, 1000)


@place("on_state, connected, in connect", CALLBACK)
def on_state_up_in_connect(b: Bench) -> None:
    b.connect()
    b.client.disconnect()
    b.client.on_state = lambda client, up, error: up and b.enter()
    b.client.connect()


def _on_state_down(b: Bench) -> None:
    b.connect()
    b.client.on_state = lambda client, up, error: up or b.enter()


@place("on_state, link lost, in poll", CALLBACK)
def on_state_down(b: Bench) -> None:
    _on_state_down(b)
    b.broker.cut()
    _poll_until_entered(b)


@place("on_state, link lost, in publish", CALLBACK)
def on_state_down_in_publish(b: Bench) -> None:
    _on_state_down(b)
    b.broker.cut()
    b.publish(1)


@place("on_state, link lost, in publish of a handler", CALLBACK)
def on_state_down_in_handler(b: Bench) -> None:
    def handle(message: Any) -> None:
        b.broker.cut()
        b.publish(1)

    b.client.subscribe("cut", handle, 1)
    _on_state_down(b)
    b.send(b"cut", 0)
    _poll_until_entered(b)


@place("on_state, in disconnect", CALLBACK)
def on_state_in_disconnect(b: Bench) -> None:
    _on_state_down(b)
    b.client.disconnect()


@place("on_state, in disconnect while the stream opens", CALLBACK)
def on_state_in_disconnect_early(b: Bench) -> None:
    b.broker.is_writable = False
    b.client.connect(wait=False)
    b.client.poll(10)
    b.broker.is_writable = True
    b.client.on_state = lambda client, up, error: up or b.enter()
    b.client.disconnect()


@place("on_state, first try failed, in connect", CALLBACK)
def on_state_refused(b: Bench) -> None:
    b.broker.broker_listens = False
    b.client.on_state = lambda client, up, error: up or b.enter()
    try:
        b.client.connect()
    except OSError:
        pass


@place("on_ack", CALLBACK)
def on_ack(b: Bench) -> None:
    b.connect()
    b.client.on_ack = b.enter
    b.publish(1)
    _poll_until_entered(b)


# the outbox is full, and calls may wait as in the main program
@place("on_ack of a message that publish drops", UNDOCUMENTED)
def on_ack_dropped(b: Bench) -> None:
    def handle_ack(answer: Any) -> None:
        if answer.reason == 0x97:
            b.end_message(answer.packet_id)
            b.enter()

    attach_overflow_policy(b.client.session, "oldest")
    b.client.on_ack = handle_ack
    while not b.is_entered:
        b.publish(1)
    b.client.session.overflow_policy = None


@place("on_subscribed", CALLBACK)
def on_subscribed(b: Bench) -> None:
    b.connect()
    b.client.on_subscribed = b.enter
    b.client.subscribe("new", b.handle)
    _poll_until_entered(b)


@place("on_unsubscribed", CALLBACK)
def on_unsubscribed(b: Bench) -> None:
    b.client.subscribe("old", b.handle)
    b.connect()
    b.client.on_unsubscribed = b.enter
    b.client.unsubscribe("old")
    _poll_until_entered(b)


@place("on_unhandled", CALLBACK)
def on_unhandled(b: Bench) -> None:
    b.connect()
    b.client.on_unhandled = lambda message: b.enter()
    b.broker.send(b"nobody", b"x", 1)
    _poll_until_entered(b)


@place("on_error", CALLBACK)
def on_error(b: Bench) -> None:
    def handle(message: Any) -> None:
        if not b.is_entered:
            raise ValueError("broken")

    b.client.on_error = b.enter
    b.client.subscribe("broken", handle, 1)
    b.connect()
    b.broker.send(b"broken", b"x", 1)
    _poll_until_entered(b)
    b.client.on_error = b.errors.append


@place("on_response", CALLBACK)
def on_response(b: Bench) -> None:
    b.connect()
    b.client.request("ask", b"first")
    b.possible += [b"first", b"second"]
    b.client.request("ask", b"second", on_response=b.enter)
    _poll_until_entered(b)


@place("on_response without a response", CALLBACK)
def on_response_none(b: Bench) -> None:
    b.connect()
    b.client.request("ask", b"first")
    b.possible += [b"first", b"second"]
    b.client.request("nobody", b"second", timeout=100, on_response=b.enter)
    _poll_until_entered(b)


@place("function of a responder", CALLBACK)
def responder_function(b: Bench) -> None:
    def answer(message: Any) -> bytes:
        b.message = message
        b.enter()
        b.message = None
        return b"response"

    b.client.responder("question", answer)
    b.connect()
    b.possible.append(b"response")
    b.broker.send(b"question", b"?", 1, b"\x08\x00\x04back\x09\x00\x01k")
    _poll_until_entered(b)


@place("follow_redirects", CALLBACK)
def follow_redirects(b: Bench) -> None:
    def choose(reference: str) -> tuple[str, int]:
        b.enter()
        return "other", 1883

    b.client.follow_redirects = choose
    b.connect()
    b.broker.stream.inbox += make_packet(0xE0, b"\x9d\x08\x1c\x00\x05other")
    _poll_until_entered(b)


@place("password function", CALLBACK)
def password(b: Bench) -> None:
    def token() -> str:
        b.enter()
        return "token"

    b.client.set_credentials("user", token)
    b.client.connect(wait=False)
    _poll_until_entered(b)


@place("transport function", CALLBACK)
def transport(b: Bench) -> None:
    b.broker.on_connect = b.enter
    b.client.connect(wait=False)
    _poll_until_entered(b)


def _sink(pieces: tuple[Any, ...]) -> Callable[[Bench], None]:
    """Enter in `begin` if `pieces` is empty, otherwise when `take` gets one of these pieces."""

    def run(b: Bench) -> None:
        def take(piece: Any) -> None:
            if (piece if piece is None else bytes(piece[:1])) in pieces:
                b.enter()

        def begin(message: Any, size: int) -> Any:
            if not pieces:
                b.enter()
            return take

        streaming.receive(b.client, "stream", begin, 1, 10_000)
        b.connect()
        b.broker.send(b"stream", b"p" * 3000, 1)
        if pieces == (None,):
            b.broker.stream.inbox = b.broker.stream.inbox[:2000]
            b.client.poll(10)
            b.broker.cut()
        _poll_until_entered(b)

    return run


place("sink of streaming.receive, begin", CALLBACK)(_sink(()))
place("sink of streaming.receive, a piece", CALLBACK)(_sink((b"p",)))
place("sink of streaming.receive, the end", CALLBACK)(_sink((b"",)))
place("sink of streaming.receive, link lost", CALLBACK)(_sink((None,)))


# ---- a scheduled function that interrupts a wait


@place("in the wait of poll", WAITING)
def waiting_in_poll(b: Bench) -> None:
    b.connect()
    b.broker.on_sleep = b.enter
    b.client.poll(1000)


@place("in the wait of poll, link lost", WAITING)
def waiting_lost(b: Bench) -> None:
    b.connect()
    b.broker.cut()
    b.broker.broker_listens = False
    b.client.poll(10)

    def enter() -> None:
        b.broker.broker_listens = True
        b.enter()

    b.broker.on_sleep = enter
    b.client.poll(1000)


@place("in the wait of connect", WAITING)
def waiting_in_connect(b: Bench) -> None:
    b.broker.is_silent = True

    def enter() -> None:
        b.broker.on_sleep = b.broker.answer_late
        b.enter()
        b.broker.answer_late()

    b.broker.on_sleep = enter
    b.client.connect()


@place("in the wait of publish", WAITING)
def waiting_in_publish(b: Bench) -> None:
    b.connect()
    b.broker.is_silent = True

    def enter() -> None:
        b.broker.answer_late()
        b.enter()

    b.broker.on_sleep = enter
    payload = b.number()
    b.possible.append(payload)
    try:
        b.client.publish("out", payload, 1, wait=2000)
    except OSError:
        assert not b.client._should_connect  # the call was `disconnect`


@place("in the wait of request", WAITING)
def waiting_in_request(b: Bench) -> None:
    b.connect()
    b.client.request("ask", b"first")
    b.possible += [b"first", b"second"]
    b.broker.on_sleep = b.enter
    try:
        b.client.request("nobody", b"second", timeout=1000)
    except OSError:
        pass


# ---- a scheduled function that interrupts the client while it works


@place("while poll reads", WORKING)
def reading(b: Bench) -> None:
    b.connect()
    b.broker.stream.on_read = b.enter
    b.send(b"in/x", 1)
    b.client.poll(10)


@place("while poll writes", WORKING)
def writing(b: Bench) -> None:
    b.connect()
    b.broker.stream.on_write = b.enter
    b.client.subscribe("more", b.handle)
    b.client.poll(10)


def _while_publish_writes(qos: int) -> Callable[[Bench], None]:
    def run(b: Bench) -> None:
        b.connect()
        b.broker.stream.on_write = b.enter
        b.publish(qos)

    return run


for _qos in (0, 1, 2):
    place("while publish writes, QoS %d" % _qos, WORKING)(_while_publish_writes(_qos))


@place("while ack writes", WORKING)
def acknowledging(b: Bench) -> None:
    b.connect()
    b.send(b"manual", 1)
    b.client.poll(10)
    b.broker.stream.on_write = b.enter
    b.client.ack(b.tokens.pop(0))


@place("reader of streaming.send", WORKING)
def reader(b: Bench) -> None:
    b.connect()
    b.send_stream(1, b.enter)
    _poll_until_entered(b)


@place("function of an authentication method", WORKING)
def auth_method(b: Bench) -> None:
    b.auth.on_start = b.enter
    b.client.connect(wait=False)
    _poll_until_entered(b)
