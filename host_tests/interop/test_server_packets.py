"""Packets that a server may send, in the encodings of each codec: the client accepts and reports them."""

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

MAX_NUMBER = 0x3FFFFFFF  # `message.property` returns this for any larger number


class ReferenceEncoder:
    """The encoder of `reference_packets`, with the interface of a codec."""

    name = "reference"

    def encode(self, packet: Packet) -> bytes:
        return reference_packets.encode(packet)

    def encodable(self, packet: Packet) -> Packet:
        return packet


def encodings(codecs: list[Any], packet: Packet) -> list[tuple[bytes, Packet]]:
    """Return the different encodings of a packet, and the packet that each encodes.

    Checks that all codecs decode each encoding in the same way.
    """
    out: dict[bytes, Packet] = {}
    for encoder in [ReferenceEncoder(), *codecs]:
        data = encoder.encode(packet)
        if data is not None and data not in out:
            out[data] = encoder.encodable(packet)
            for codec in codecs:
                assert codec.decode(data) == codec.decodable(out[data]), (encoder.name, codec.name)
    return list(out.items())


def all_properties(source: Any) -> dict[int, Any]:
    """Return all properties of a message or an acknowledgement, as the `property` method returns them."""
    found: dict[int, Any] = {}
    for identifier in PROPERTY_TYPES:
        values = []
        while (value := source.property(identifier, len(values))) is not None:
            values.append(value)
        if values:
            found[identifier] = values if identifier in (USER, SUBSCRIPTION_IDENTIFIER) else values[0]
    return found


def expected(properties: dict[int, Any]) -> dict[int, Any]:
    """Return the properties as the `property` method returns them."""
    return {i: min(value, MAX_NUMBER) if isinstance(value, int) else value for i, value in properties.items()}


def record_acks(client: Any) -> list[Any]:
    """Return a list that `on_ack` fills with (packet identifier, reason code, properties)."""
    reported: list[Any] = []
    client.on_ack = lambda answer: reported.append((answer.packet_id, answer.reason, all_properties(answer)))
    return reported


def connected(**options: Any) -> Any:
    sim = Simulation(**{"rx": 8192, "tx": 4096, "inflight": 8, **options})
    sim.client.connect()
    return sim


def receive(sim: Any, data: bytes) -> list[bytes]:
    """Have the client receive `data`, and return the packets that it sends. The connection stays open."""
    stream = sim.stream
    before = len(stream.written)
    stream.inbox += data
    for _ in range(3):
        sim.client.poll()
    assert sim.client.is_connected and sim.stream is stream, split_packets(stream.written)[-1]
    return split_packets(stream.written[before:])


def check_message(message: Any, packet: Packet) -> None:
    """Check that a message has the fields and properties of the PUBLISH."""
    assert message.topic == packet["topic"]
    assert message.payload == packet["payload"] and message.equals(packet["payload"])
    assert (message.qos, message.retain, message.dup) == (packet["qos"], packet["retain"], packet["dup"])
    assert all_properties(message) == expected(packet.properties)


@given(packet=strategies.publish())
def test_a_publish_arrives_with_all_fields_and_properties_and_is_acknowledged(
    codecs: list[Any], packet: Packet
) -> None:
    for data, encoded in encodings(codecs, packet):
        sim = connected()
        got, errors = [], []
        sim.client.subscribe("#", lambda m: (check_message(m, encoded), got.append(m.packet_id)))  # noqa: B023
        sim.client.subscribe("nothing", lambda m: None)
        sim.client.on_error = errors.append
        sim.client.poll()
        sent = receive(sim, data)
        assert not errors, errors
        # the client has not chosen the Subscription Identifiers in the packet, so the topic selects (4.7.2)
        assert len(got) == (packet["topic"][0] != "$")
        identifier = packet["packet_id"].to_bytes(2, "big")
        first = (None, 0x40, 0x50)[packet["qos"]]
        assert sent == ([bytes((first, 2)) + identifier] if first else [])


@given(packets=st.lists(strategies.publish(aliases=2), min_size=1, max_size=5))
def test_topic_aliases_of_a_server_are_resolved(codecs: list[Any], packets: list[Packet]) -> None:
    sim = connected(topic_alias_maximum=2)
    got: list[tuple[str, bytes]] = []
    sim.client.subscribe("#", lambda m: got.append((m.topic, m.payload)))
    sim.client.poll()
    topics: dict[int, str] = {}
    for packet in packets:
        packet.properties.pop(SUBSCRIPTION_IDENTIFIER, None)
        packet.fields.update(qos=0, packet_id=0, dup=False)
        alias = packet.properties.get(0x23)
        topic = packet["topic"]
        if alias in topics and len(packet["payload"]) % 2:
            topic = topics[alias]
            packet.fields["topic"] = ""
        if alias:
            topics[alias] = topic
        for data, _ in encodings(codecs, packet):
            receive(sim, data)
            assert got == [(topic, packet["payload"])]
            got.clear()


@given(packet=strategies.connack(reasons=b"\x00"), small_receive_maximum=st.booleans())
def test_the_client_reports_and_obeys_the_limits_in_connack(
    codecs: list[Any], packet: Packet, small_receive_maximum: bool
) -> None:
    limits = packet.properties
    if small_receive_maximum:
        limits[0x21] = min(limits.get(0x21, 3), 3)
    limits[0x27] = max(limits.get(0x27, 0xFFFFFFFF), 600)  # large enough for the packets below
    for data, encoded in encodings(codecs, packet):
        sim = Simulation(client_id="", keep_alive=40, rx=8192, tx=4096, inflight=8)
        sim.connect_reply = data
        reported: list[Any] = []
        sim.client.on_state = lambda client, up, error: reported.append(all_properties(client.packet))  # noqa: B023
        sim.client.connect()
        assert sim.client.is_connected
        assert reported == [expected(encoded.properties)]
        check_publish_limits(sim, limits)
        check_subscribe_limits(sim, limits)
        check_keep_alive(sim, limits.get(0x13, 40))
        sim.connect_reply = CONNACK
        sim.stream.closed_by_broker = True
        sim.client.poll(3000)
        (connect, *_) = split_packets(sim.stream.written)
        assert codecs[0].decode(connect)["client_id"] == limits.get(0x12, "")


def check_publish_raises(sim: Any, code: int, *message: Any, **options: Any) -> None:
    with pytest.raises(MQTTError) as caught:
        sim.client.publish(*message, **options)
    assert caught.value.code == code


def check_publish_limits(sim: Any, limits: dict[int, Any]) -> None:
    client, stream = sim.client, sim.stream
    for qos in range(limits.get(0x24, 2) + 1, 3):
        check_publish_raises(sim, 0x9B, "t", b"", qos)
    if not limits.get(0x25, 1):
        check_publish_raises(sim, 0x9A, "t", b"", retain=True)
    if limits[0x27] < 2000:
        check_publish_raises(sim, 0x95, "t", b"x" * (limits[0x27] - 6))
        assert client.publish("t", b"x" * (limits[0x27] - 7))  # the remaining length takes two bytes
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
        while sent:  # each PUBACK makes room for the next message
            sent = [new for packet in sent for new in receive(sim, b"\x40\x02" + packet[5:7])]


def check_subscribe_limits(sim: Any, limits: dict[int, Any]) -> None:
    reported = []
    sim.client.on_subscribed = lambda s, answer: reported.append(s.reason)
    for name, available, code in (("a/#", 0x28, 0xA2), ("$share/g/a", 0x2A, 0x9E)):
        before = len(sim.stream.written)
        sim.client.subscribe(name, lambda m: None)
        sim.client.poll()
        sim.client.poll()
        sent = [packet for packet in split_packets(sim.stream.written[before:]) if packet[0] == 0x82]
        if limits.get(available, 1):
            (subscribe,) = sent
            assert (subscribe[4] > 0) == (limits.get(0x29, 1) == 1)  # has a Subscription Identifier
            receive(sim, make_packet(0x90, subscribe[2:4], b"\x00\x00"))
            code = 0
        else:
            assert not sent
        assert reported == [code]
        reported.clear()


def check_keep_alive(sim: Any, seconds: int) -> None:
    before = len(sim.stream.written)
    sim.client.poll((seconds or 100) * 1000)
    assert (b"\xc0\x00" in sim.stream.written[before:]) == (seconds > 0)


@given(packet=strategies.connack(reasons=reference_packets.SERVER_REASON_CODES["CONNACK"][1:]))
def test_a_connack_with_an_error_raises_it_with_all_details(codecs: list[Any], packet: Packet) -> None:
    for data, encoded in encodings(codecs, packet):
        sim = Simulation(rx=8192)
        sim.connect_reply = data
        with pytest.raises(MQTTError) as caught:
            sim.client.connect()
        check_broker_error(caught.value, sim.client.packet, encoded)


def check_broker_error(error: Any, received: Any, packet: Packet) -> None:
    """Check that the error has the reason code, Reason String and Server Reference of the packet."""
    assert error.code == packet["reason"] and error.detail == packet.properties.get(0x1F, "")
    assert error.server_reference == packet.properties.get(0x1C)
    assert all_properties(received) == expected(packet.properties)


@given(source=st.data(), qos=st.integers(1, 2))
def test_on_ack_reports_puback_pubcomp_or_a_pubrec_with_an_error(
    codecs: list[Any], source: st.DataObject, qos: int
) -> None:
    packet = source.draw(strategies.ack("PUBACK" if qos == 1 else "PUBREC", 1))
    pubcomp = source.draw(strategies.ack("PUBCOMP", 1))
    for data, encoded in encodings(codecs, packet):
        for pubcomp_data, encoded_pubcomp in encodings(codecs, pubcomp):
            sim = connected()
            reported = record_acks(sim.client)
            assert sim.client.publish("a", b"x", qos) == 1
            sent = receive(sim, data)
            last = encoded
            if qos == 2 and packet["reason"] < 0x80:
                assert sent[-1] == b"\x62\x02\x00\x01" and not reported
                receive(sim, pubcomp_data)
                last = encoded_pubcomp
            assert reported == [(1, last["reason"], expected(last.properties))]


@given(packet=strategies.ack("PUBREL", 7))
def test_pubrel_is_answered_with_pubcomp(codecs: list[Any], packet: Packet) -> None:
    for data, _ in encodings(codecs, packet):
        sim = connected()
        receive(sim, b"\x34\x07\x00\x01a\x00\x07\x00x")
        assert receive(sim, data) == [b"\x70\x02\x00\x07"]


def next_packet_id(sim: Any) -> int:
    """Return the packet identifier of the packet that the client sends next."""
    (packet,) = receive(sim, b"")
    return int.from_bytes(packet[2:4], "big")


@given(source=st.data())
def test_the_callbacks_report_suback_and_unsuback(codecs: list[Any], source: st.DataObject) -> None:
    sim = connected()
    reported: list[Any] = []
    sim.client.on_subscribed = lambda s, answer: reported.append(
        (s.topic_filter, answer.reason, all_properties(answer))
    )
    sim.client.on_unsubscribed = sim.client.on_subscribed
    sim.client.subscribe("a", lambda m: None)
    packet = source.draw(strategies.suback("SUBACK", next_packet_id(sim)))
    for data, encoded in encodings(codecs, packet):
        receive(sim, data)
        assert reported == [(b"a", packet["reasons"][0], expected(encoded.properties))]
        reported.clear()
        sim.client.unsubscribe("a")
        unsuback = source.draw(strategies.suback("UNSUBACK", next_packet_id(sim)))
        data, encoded = source.draw(st.sampled_from(encodings(codecs, unsuback)))
        receive(sim, data)
        assert reported == [(b"a", unsuback["reasons"][0], expected(encoded.properties))]
        reported.clear()
        sim.client.subscribe("a", lambda m: None)
        assert next_packet_id(sim) == packet["packet_id"]


def test_the_client_sends_nothing_after_pingresp(codecs: list[Any]) -> None:
    for data, _ in encodings(codecs, Packet("PINGRESP")):
        assert receive(connected(), data) == []


@given(packet=strategies.disconnect())
def test_a_disconnect_of_the_server_closes_the_connection_and_reports_its_error(
    codecs: list[Any], packet: Packet
) -> None:
    for data, encoded in encodings(codecs, packet):
        sim = connected()
        reported = []
        sim.client.on_state = lambda client, up, error: reported.append(error)  # noqa: B023
        stream = sim.stream
        before = len(stream.written)
        stream.inbox += data
        sim.client.poll()
        sim.client.poll()
        (error,) = reported
        check_broker_error(error, sim.client.packet, encoded)
        assert stream.closed and len(stream.written) == before


class AuthMethod:
    """An authentication method that records the data it receives."""

    method = "method"

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def start(self) -> bytes:
        return b""

    def challenge(self, data: bytes) -> bytes:
        self.received.append(data)
        return b"answer"

    def finish(self, data: bytes) -> None:
        self.received.append(data)


@given(
    data=st.binary(min_size=1, max_size=200),
    last=st.binary(min_size=1, max_size=200),
    others=strategies.properties("AUTH", exclude=(0x15, 0x16)),
)
def test_the_authentication_method_receives_the_data_of_auth_and_connack(
    codecs: list[Any], data: bytes, last: bytes, others: dict[int, Any]
) -> None:
    challenge = Packet("AUTH", {"reason": 0x18}, {0x15: "method", 0x16: data, **others})
    accepted = Packet("CONNACK", {"session_present": False, "reason": 0}, {0x15: "method", 0x16: last})
    for auth, _ in encodings(codecs, challenge):
        for connack, _ in encodings(codecs, accepted):
            sim = Simulation(rx=8192, tx=4096)
            sim.connect_reply = auth
            sim.client.auth = method = AuthMethod()
            sim.client.connect(wait=False)
            for _ in range(3):
                sim.client.poll()
            assert split_packets(sim.stream.written)[-1][0] == 0xF0
            sim.stream.inbox += connack
            assert sim.client.poll() and method.received == [data, last]
