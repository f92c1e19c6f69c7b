"""What a server may send, as the three codecs and our own generator encode it: the client takes it,
and each field arrives where the user sees it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import Simulation

from helper import CONNACK, make_packet
from host_tests.interop import reference_packets, strategies
from host_tests.interop.reference_packets import (
    PROPERTY_TYPES,
    SUBSCRIPTION_IDENTIFIER,
    USER,
    Packet,
    split_packets,
)
from umqtt5 import MQTTError

LARGEST = 0x3FFFFFFF  # of a number that `message.property` returns


class Own:
    name = "our own"

    def encode(self, wanted: Packet) -> bytes:
        return reference_packets.encode(wanted)

    def encodable(self, wanted: Packet) -> Packet:
        return wanted


def encodings(codecs: list[Any], wanted: Packet) -> list[tuple[bytes, Packet]]:
    """The packet in the bytes of all encoders, and what each has left of it. The codecs agree on them."""
    out: dict[bytes, Packet] = {}
    for encoder in [Own(), *codecs]:
        data = encoder.encode(wanted)
        if data is not None and data not in out:
            out[data] = encoder.encodable(wanted)
            for codec in codecs:
                assert codec.decode(data) == codec.decodable(out[data]), (encoder.name, codec.name)
    return list(out.items())


def seen(answer: Any) -> dict[int, Any]:
    """All properties, as a user finds them in a message or an answer."""
    found: dict[int, Any] = {}
    for identifier in PROPERTY_TYPES:
        values = []
        while (value := answer.property(identifier, len(values))) is not None:
            values.append(value)
        if values:
            found[identifier] = values if identifier in (USER, SUBSCRIPTION_IDENTIFIER) else values[0]
    return found


def expected(properties: dict[int, Any]) -> dict[int, Any]:
    return {i: min(value, LARGEST) if isinstance(value, int) else value for i, value in properties.items()}


def acks(client: Any) -> list[Any]:
    """What `on_ack` is told: packet identifier, reason code, properties."""
    told: list[Any] = []
    client.on_ack = lambda answer: told.append((answer.packet_id, answer.reason, seen(answer)))
    return told


def connected(**options: Any) -> Any:
    sim = Simulation(**{"rx": 8192, "tx": 4096, "inflight": 8, **options})
    sim.client.connect()
    return sim


def give(sim: Any, data: bytes) -> list[bytes]:
    """Have a packet arrive; returns what the client answers. The link stays."""
    stream = sim.stream
    before = len(stream.written)
    stream.inbox += data
    for _ in range(3):
        sim.client.poll()
    assert sim.client.is_connected and sim.stream is stream, split_packets(stream.written)[-1]
    return split_packets(stream.written[before:])


def arrived(message: Any, wanted: Packet) -> None:
    """A handler's message is what was sent."""
    assert message.topic == wanted["topic"]
    assert message.payload == wanted["payload"] and message.equals(wanted["payload"])
    assert (message.qos, message.retain, message.dup) == (wanted["qos"], wanted["retain"], wanted["dup"])
    assert seen(message) == expected(wanted.properties)


@given(wanted=strategies.publish())
def test_publish(codecs: list[Any], wanted: Packet) -> None:
    for data, left in encodings(codecs, wanted):
        sim = connected()
        got, errors = [], []
        sim.client.subscribe("#", lambda m: (arrived(m, left), got.append(m.packet_id)))  # noqa: B023
        sim.client.subscribe("nothing", lambda m: None)
        sim.client.on_error = errors.append
        sim.client.poll()
        answer = give(sim, data)
        assert not errors, errors
        # a Subscription Identifier names the subscriptions, without one the topic does
        assert len(got) == (1 in wanted.properties.get(SUBSCRIPTION_IDENTIFIER, [1]))
        identifier = wanted["packet_id"].to_bytes(2, "big")
        first = (None, 0x40, 0x50)[wanted["qos"]]
        assert answer == ([bytes((first, 2)) + identifier] if first else [])


@given(wanted=st.lists(strategies.publish(aliases=2), min_size=1, max_size=5))
def test_publish_with_the_brokers_aliases(codecs: list[Any], wanted: list[Packet]) -> None:
    sim = connected(topic_alias_maximum=2)
    got: list[tuple[str, bytes]] = []
    sim.client.subscribe("#", lambda m: got.append((m.topic, m.payload)))
    sim.client.poll()
    topics: dict[int, str] = {}
    for one in wanted:
        one.properties.pop(SUBSCRIPTION_IDENTIFIER, None)
        one.fields.update(qos=0, packet_id=0, dup=False)
        alias = one.properties.get(0x23)
        topic = one["topic"]
        if alias in topics and len(one["payload"]) % 2:
            topic = topics[alias]
            one.fields["topic"] = ""
        if alias:
            topics[alias] = topic
        for data, _ in encodings(codecs, one):
            give(sim, data)
            assert got == [(topic, one["payload"])]
            got.clear()


@given(wanted=strategies.connack(reasons=b"\x00"), few=st.booleans())
def test_connack(codecs: list[Any], wanted: Packet, few: bool) -> None:
    limits = wanted.properties
    if few:
        limits[0x21] = min(limits.get(0x21, 3), 3)
    limits[0x27] = max(limits.get(0x27, 0xFFFFFFFF), 600)  # for what follows
    for data, left in encodings(codecs, wanted):
        sim = Simulation(client_id="", keep_alive=40, rx=8192, tx=4096, inflight=8)
        sim.connect_reply = data
        told: list[Any] = []
        sim.client.on_state = lambda client, up, error: told.append(seen(client.packet))  # noqa: B023
        sim.client.connect()
        assert sim.client.is_connected
        assert told == [expected(left.properties)]
        obeys_publishing(sim, limits)
        obeys_subscribing(sim, limits)
        obeys_keep_alive(sim, limits.get(0x13, 40))
        sim.connect_reply = CONNACK
        sim.stream.closed_by_broker = True
        sim.client.poll(3000)
        (connect, *_) = split_packets(sim.stream.written)
        assert codecs[0].decode(connect)["client_id"] == limits.get(0x12, "")


def refused(sim: Any, code: int, *message: Any, **options: Any) -> None:
    with pytest.raises(MQTTError) as caught:
        sim.client.publish(*message, **options)
    assert caught.value.code == code


def obeys_publishing(sim: Any, limits: dict[int, Any]) -> None:
    client, stream = sim.client, sim.stream
    for qos in range(limits.get(0x24, 2) + 1, 3):
        refused(sim, 0x9B, "t", b"", qos)
    if not limits.get(0x25, 1):
        refused(sim, 0x9A, "t", b"", retain=True)
    if limits[0x27] < 2000:
        refused(sim, 0x95, "t", b"x" * (limits[0x27] - 6))
        assert client.publish("t", b"x" * (limits[0x27] - 7))  # with two bytes of length
    client.poll()
    before = len(stream.written)
    for _ in range(2):
        assert client.publish("long/topic", b"x", retain=limits.get(0x25, 1) == 1)
    client.poll()
    assert (b"long/topic" in split_packets(stream.written[before:])[1]) == (limits.get(0x22, 0) == 0)
    if limits.get(0x24, 2):
        before = len(stream.written)
        for _ in range(5):
            client.publish("t", b"x", qos=1)
        client.poll()
        client.poll()
        sent = split_packets(stream.written[before:])
        assert len(sent) == min(5, limits.get(0x21, 65535))
        while sent:  # what has waited for its turn goes out then
            sent = [new for one in sent for new in give(sim, b"\x40\x02" + one[5:7])]


def obeys_subscribing(sim: Any, limits: dict[int, Any]) -> None:
    told = []
    sim.client.on_subscribed = lambda s, answer: told.append(s.reason)
    for name, available, code in (("a/#", 0x28, 0xA2), ("$share/g/a", 0x2A, 0x9E)):
        before = len(sim.stream.written)
        sim.client.subscribe(name, lambda m: None)
        sim.client.poll()
        sim.client.poll()
        sent = [one for one in split_packets(sim.stream.written[before:]) if one[0] == 0x82]
        if limits.get(available, 1):
            (one,) = sent
            assert (one[4] > 0) == (limits.get(0x29, 1) == 1)  # a Subscription Identifier
            give(sim, make_packet(0x90, one[2:4], b"\x00\x00"))
            code = 0
        else:
            assert not sent
        assert told == [code]
        told.clear()


def obeys_keep_alive(sim: Any, seconds: int) -> None:
    before = len(sim.stream.written)
    sim.client.poll((seconds or 100) * 1000)
    assert (b"\xc0\x00" in sim.stream.written[before:]) == (seconds > 0)


@given(wanted=strategies.connack(reasons=reference_packets.SERVER_REASON_CODES["CONNACK"][1:]))
def test_connack_that_refuses(codecs: list[Any], wanted: Packet) -> None:
    for data, left in encodings(codecs, wanted):
        sim = Simulation(rx=8192)
        sim.connect_reply = data
        with pytest.raises(MQTTError) as caught:
            sim.client.connect()
        ended_with(caught.value, sim.client.packet, left)


def ended_with(error: Any, answer: Any, wanted: Packet) -> None:
    """The broker's words for an end, as the user has them."""
    assert error.code == wanted["reason"] and error.detail == wanted.properties.get(0x1F, "")
    assert error.server_reference == wanted.properties.get(0x1C)
    assert seen(answer) == expected(wanted.properties)


@given(answer=st.data(), qos=st.integers(1, 2))
def test_puback_pubrec_and_pubcomp(codecs: list[Any], answer: st.DataObject, qos: int) -> None:
    wanted = answer.draw(strategies.ack("PUBACK" if qos == 1 else "PUBREC", 1))
    completed = answer.draw(strategies.ack("PUBCOMP", 1))
    for data, left in encodings(codecs, wanted):
        for last, last_left in encodings(codecs, completed):
            sim = connected()
            told = acks(sim.client)
            assert sim.client.publish("a", b"x", qos) == 1
            answers = give(sim, data)
            end = left
            if qos == 2 and wanted["reason"] < 0x80:
                assert answers[-1] == b"\x62\x02\x00\x01" and not told
                give(sim, last)
                end = last_left
            assert told == [(1, end["reason"], expected(end.properties))]


@given(wanted=strategies.ack("PUBREL", 7))
def test_pubrel(codecs: list[Any], wanted: Packet) -> None:
    for data, _ in encodings(codecs, wanted):
        sim = connected()
        give(sim, b"\x34\x07\x00\x01a\x00\x07\x00x")
        assert give(sim, data) == [b"\x70\x02\x00\x07"]


def asked(sim: Any) -> int:
    """The packet identifier of what the client asks now."""
    (one,) = give(sim, b"")
    return int.from_bytes(one[2:4], "big")


@given(answer=st.data())
def test_suback_and_unsuback(codecs: list[Any], answer: st.DataObject) -> None:
    sim = connected()
    told: list[Any] = []
    sim.client.on_subscribed = lambda s, answer: told.append((s.topic_filter, answer.reason, seen(answer)))
    sim.client.on_unsubscribed = sim.client.on_subscribed
    sim.client.subscribe("a", lambda m: None)
    wanted = answer.draw(strategies.suback("SUBACK", asked(sim)))
    for data, left in encodings(codecs, wanted):
        give(sim, data)
        assert told == [(b"a", wanted["reasons"][0], expected(left.properties))]
        told.clear()
        sim.client.unsubscribe("a")
        last = answer.draw(strategies.suback("UNSUBACK", asked(sim)))
        unsuback, left = answer.draw(st.sampled_from(encodings(codecs, last)))
        give(sim, unsuback)
        assert told == [(b"a", last["reasons"][0], expected(left.properties))]
        told.clear()
        sim.client.subscribe("a", lambda m: None)
        assert asked(sim) == wanted["packet_id"]


def test_pingresp(codecs: list[Any]) -> None:
    for data, _ in encodings(codecs, Packet("PINGRESP")):
        assert give(connected(), data) == []


@given(wanted=strategies.disconnect())
def test_disconnect(codecs: list[Any], wanted: Packet) -> None:
    for data, left in encodings(codecs, wanted):
        sim = connected()
        told = []
        sim.client.on_state = lambda client, up, error: told.append(error)  # noqa: B023
        stream = sim.stream
        before = len(stream.written)
        stream.inbox += data
        sim.client.poll()
        sim.client.poll()
        (error,) = told
        ended_with(error, sim.client.packet, left)
        assert stream.closed and len(stream.written) == before


class Method:
    method = "method"

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def start(self) -> bytes:
        return b""

    def challenge(self, data: bytes) -> bytes:
        self.heard.append(data)
        return b"answer"

    def finish(self, data: bytes) -> None:
        self.heard.append(data)


@given(
    data=st.binary(min_size=1, max_size=200),
    last=st.binary(min_size=1, max_size=200),
    others=strategies.properties("AUTH", but=(0x15, 0x16)),
)
def test_auth(codecs: list[Any], data: bytes, last: bytes, others: dict[int, Any]) -> None:
    challenge = Packet("AUTH", {"reason": 0x18}, {0x15: "method", 0x16: data, **others})
    accepted = Packet("CONNACK", {"session_present": False, "reason": 0}, {0x15: "method", 0x16: last})
    for greeting, _ in encodings(codecs, challenge):
        for connack, _ in encodings(codecs, accepted):
            sim = Simulation(rx=8192, tx=4096)
            sim.connect_reply = greeting
            sim.client.auth = method = Method()
            sim.client.connect(wait=False)
            for _ in range(3):
                sim.client.poll()
            assert split_packets(sim.stream.written)[-1][0] == 0xF0
            sim.stream.inbox += connack
            assert sim.client.poll() and method.heard == [data, last]
