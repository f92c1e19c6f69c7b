"""The public calls of the library, as a program makes them."""

from __future__ import annotations

from typing import Any

from host_tests.calls.bench import WORKS, Bench, Call, NotHere
from umqtt5 import streaming
from umqtt5.core.client import Client
from umqtt5.journal import Journal
from umqtt5.link_statistics import LinkStatistics
from umqtt5.properties import pack

_USER = pack(user_properties=[("a", "b")])


def _ok(_: Any) -> str:
    """The result of a call that has no result, or whose result may be false."""
    return WORKS


# ---- the connection


def connect(b: Bench) -> Any:
    result = b.client.connect()
    if b.client.is_connected:
        return WORKS
    assert result is False
    return "waited"


def check_disconnected(b: Bench) -> None:
    """The connection has ended with DISCONNECT, and the client does not reconnect."""
    assert not b.client.is_connected and b.client.stream is None
    for stream in b.broker.streams:
        assert stream.closed
    count = len(b.broker.connect_times)
    b.client.poll(100_000)
    b.publish(1)
    assert len(b.broker.connect_times) == count


def disconnect_with_reason(b: Bench) -> Any:
    return _ok(b.client.disconnect(0x04, pack(reason_string="bye")))


def poll(b: Bench) -> Any:
    b.client.poll(50)
    return "waited"


def use_with(b: Bench) -> Any:
    with b.client:
        pass
    return WORKS


# ---- messages


def publish_and_wait(b: Bench) -> Any:
    payload = b.number()
    b.possible.append(payload)
    return b.client.publish("out", payload, 1, wait=True)


def publish_with_properties(b: Bench) -> Any:
    return b.publish(1, properties=_USER)


def publish_to_handle(b: Bench) -> Any:
    return b.publish(0, b.client.topic("handle"))


def prepare_cancel(b: Bench) -> None:
    b.publish(1)
    b.client.poll(20)


def cancel(b: Bench) -> Any:
    for packet_id in (0, 1, 2):
        if b.client.cancel(packet_id):
            b.end_message(packet_id)
    return WORKS


def subscribe_with_options(b: Bench) -> Any:
    return b.client.subscribe(["l/1", "l/2"], b.handle, 1, no_local=True, identifier=77, properties=_USER)


def subscribe_manually(b: Bench) -> Any:
    return b.client.subscribe("manual/2", b.handle_manually, 1, ack="manual")


def on(b: Bench) -> Any:
    return b.client.on("on/+", 1)(b.handle)


def check_filter(*names: bytes) -> Any:
    def check(b: Bench) -> None:
        if not b.client.is_connected:
            b.client.connect()
            b.client.poll(200)
        assert b.broker.filters.issuperset(names), b.broker.filters

    return check


def prepare_spare(b: Bench) -> None:
    b.client.subscribe("spare", b.handle)
    b.client.poll(50)


def check_spare(b: Bench) -> None:
    b.client.connect()
    b.client.poll(200)
    assert b"spare" not in b.broker.filters


def prepare_token(b: Bench) -> None:
    b.send(b"manual", 1)
    b.client.poll(20)


def ack(b: Bench) -> Any:
    token = b.tokens[0] if b.tokens else 0
    if b.client.ack(token):
        b.tokens.remove(token)
    return WORKS


# ---- requests


def _ask(b: Bench, **options: Any) -> Any:
    payload = b.number()
    b.possible.append(payload)
    return b.client.request("ask", payload, **options)


def request(b: Bench) -> Any:
    return _ask(b)


def request_with_callback(b: Bench) -> Any:
    return _ask(b, on_response=lambda m: b.answers.append(m and m.payload), qos=1)


def check_answer(b: Bench) -> None:
    b.client.connect()
    b.client.poll(11_000)
    assert b.answers == [b"answer"] or b.answers == [None], b.answers


def prepare_request(b: Bench) -> None:
    _ask(b)


def respond(b: Bench) -> Any:
    if b.message is None:
        raise NotHere
    payload = b.number()
    b.accepted.append(payload)
    return b.client.respond(b.message, payload, topic="response")


def responder(b: Bench) -> Any:
    return b.client.responder("ask/me", lambda m: b"x")


# ---- optional features


def receive(b: Bench) -> Any:
    return streaming.receive(b.client, "stream/in", lambda message, size: None, 1)


def journal(b: Bench) -> Any:
    if b.client.session.outbox.count and not b.client._should_connect:
        raise NotHere  # the program has published: see test_interrupted_calls.py
    return Journal(b.client, str(b.folder / "late"), 32768)


def add_journal(b: Bench) -> None:
    b.journal = Journal(b.client, str(b.folder / "journal"), 32768)


def check_publish(b: Bench) -> None:
    b.publish(1)


CALLS = (
    Call("`connect()`", connect),
    Call("`connect(wait=False)`", lambda b: _ok(b.client.connect(wait=False))),
    Call("`disconnect()`", lambda b: _ok(b.client.disconnect()), check=check_disconnected),
    Call("`disconnect(reason, properties)`", disconnect_with_reason, check=check_disconnected),
    Call("`with client:`", use_with, check=check_disconnected),
    Call("`poll(ms)`", poll),
    Call("`publish(...)` at QoS 0", lambda b: b.publish(0)),
    Call("`publish(handle, ...)` at QoS 0", publish_to_handle),
    Call("`publish(...)` at QoS 1", lambda b: b.publish(1)),
    Call("`publish(...)` at QoS 2", lambda b: b.publish(2)),
    Call("`publish(..., properties=...)`", publish_with_properties),
    Call("`publish(..., wait=True)`", publish_and_wait),
    Call("`cancel(packet_id)`", cancel, prepare_cancel),
    Call("`subscribe(...)`", lambda b: b.client.subscribe("s/+", b.handle, 1), check=check_filter(b"s/+")),
    Call("`subscribe([...], properties=...)`", subscribe_with_options, check=check_filter(b"l/1", b"l/2")),
    Call('`subscribe(..., ack="manual")`', subscribe_manually, check=check_filter(b"manual/2")),
    Call("`on(...)`", on, check=check_filter(b"on/+")),
    Call("`unsubscribe(...)`", lambda b: b.client.unsubscribe("spare"), prepare_spare, check_spare),
    Call("`ack(token)`", ack, prepare_token),
    Call("`request(...)`", request),
    Call("`request(..., on_response=...)`", request_with_callback, prepare_request, check_answer),
    Call("`respond(message, ...)`", respond),
    Call("`responder(...)`", responder, check=check_filter(b"ask/me")),
    Call("`reauthenticate()`", lambda b: b.client.reauthenticate()),
    Call("`reauthenticate(wait=False)`", lambda b: b.client.reauthenticate(wait=False)),
    Call("`will(...)`", lambda b: _ok(b.client.will("will", b"x", properties=_USER))),
    Call("`set_credentials(...)`", lambda b: _ok(b.client.set_credentials("u", "p"))),
    Call("`topic(name)`", lambda b: b.client.topic("name")),
    Call("`is_connected`", lambda b: _ok(b.client.is_connected)),
    Call("`next_timeout()`", lambda b: _ok(b.client.next_timeout())),
    Call("`poll_events()`", lambda b: _ok(b.client.poll_events())),
    Call("`streaming.send(...)`", lambda b: b.send_stream(1)),
    Call("`streaming.is_sending(client)`", lambda b: _ok(streaming.is_sending(b.client))),
    Call("`streaming.receive(...)`", receive, check=check_filter(b"stream/in")),
    Call("`Journal(client)`", journal, check=check_publish),
    Call("`Journal.sync()`", lambda b: _ok(b.journal.sync()), set_up=add_journal),
    Call("`LinkStatistics(client)`", lambda b: LinkStatistics(b.client).snapshot()),
    Call("`Client(...)`", lambda b: Client("other", transport=b.broker.connect)),
)
