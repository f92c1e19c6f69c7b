"""Packets that the client sends: each codec accepts them and decodes the requested fields and properties."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from simulation import Simulation

from helper import make_packet, publish_packet
from host_tests.interop import strategies
from host_tests.interop.reference_packets import Packet, binary, put_properties, split_packets
from umqtt5 import streaming
from umqtt5.properties import pack

SIZES: dict[str, Any] = {"tx": 8192, "outbox": 16384, "inflight": 16}


def connack(properties: dict[int, Any] | None = None, present: bool = False) -> bytes:
    return bytes(make_packet(0x20, bytes((present, 0)), put_properties(properties or {})))


def connected(properties: dict[int, Any] | None = None, **options: Any) -> Any:
    sim = Simulation(**{**SIZES, **options})
    sim.connect_reply = connack(properties)
    sim.client.connect()
    return sim


def written_after(sim: Any, before: int) -> list[bytes]:
    """Return the packets that the client wrote after its first `before` bytes."""
    sim.client.poll()
    sim.client.poll()
    return split_packets(sim.stream.written[before:])


def check_decoded(codecs: list[Any], data: bytes, expected: Packet) -> None:
    for codec in codecs:
        assert codec.decode(data) == codec.decodable(expected), codec.name


@given(
    options=st.fixed_dictionaries(
        {"client_id": strategies.text(30), "rx": st.integers(64, 3000), "inflight": st.integers(1, 300)},
        optional={
            "user": strategies.text(),
            "password": st.one_of(st.binary(max_size=200), strategies.text()),
            "keep_alive": strategies.U16,
            "session_expiry": strategies.U32,
            "topic_alias_maximum": st.integers(0, 300),
        },
    ),
    will=st.none()
    | st.tuples(strategies.topic(), strategies.payload(), st.integers(0, 2), st.booleans(), strategies.U32),
    properties=strategies.packed(),
    connect_properties=strategies.packed(strategies.PACKED_CONNECT),
)
def test_codecs_decode_every_option_of_connect(
    codecs: list[Any],
    options: dict[str, Any],
    will: tuple[Any, ...] | None,
    properties: dict[str, Any],
    connect_properties: dict[str, Any],
) -> None:
    sim = Simulation(tx=8192, properties=pack(**connect_properties), **options)
    expected_will = None
    if will:
        topic, payload, qos, retain, delay = will
        sim.client.will(topic, payload, qos, retain, delay, properties=pack(**properties))
        expected_will = {
            "topic": topic,
            "payload": payload,
            "qos": qos,
            "retain": retain,
            "properties": strategies.as_properties(properties) | ({0x18: delay} if delay else {}),
        }
    sim.client.connect()
    expected = {
        0x21: options["inflight"],
        0x27: options["rx"],
        0x11: options.get("session_expiry", 3600),
        0x22: options.get("topic_alias_maximum", 0),
        **strategies.as_properties(connect_properties),
    }
    password = options.get("password")
    fields = {
        "client_id": options["client_id"],
        "clean_start": True,
        "keep_alive": options.get("keep_alive", 60),
        "user": options.get("user"),
        "password": password.encode() if isinstance(password, str) else password,
        "will": expected_will,
    }
    (data,) = split_packets(sim.stream.written)
    check_decoded(codecs, data, Packet("CONNECT", fields, expected))
    # the second CONNECT resumes the session
    sim.stream.closed_by_broker = True
    sim.client.poll(3000)
    data = split_packets(sim.stream.written)[0]  # without the PINGREQs after it
    check_decoded(codecs, data, Packet("CONNECT", {**fields, "clean_start": False}, expected))


class Aliases:
    """The topic aliases of one connection, as a server stores them (3.3.2.3.4)."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.topics: dict[int, str] = {}
        self.used = 0

    def expected(self, data: bytes, codec: Any, fields: dict[str, Any], properties: dict[int, Any]) -> Packet:
        """Return the packet that `data` must be: its topic may be replaced by an alias."""
        seen = codec.decode(data)
        alias = seen.properties.get(0x23)
        if alias is not None:
            assert 1 <= alias <= self.maximum
            properties = properties | {0x23: alias}
            if not seen["topic"]:
                assert self.topics[alias] == fields["topic"]
                self.used += 1
                fields = fields | {"topic": ""}
            self.topics[alias] = seen["topic"] or fields["topic"] or self.topics[alias]
        return Packet("PUBLISH", fields, properties)


MESSAGE = st.tuples(
    st.one_of(st.sampled_from(("plant/one", "plant/two")), strategies.topic()),
    strategies.payload(),
    st.integers(0, 2),
    st.booleans(),
    strategies.packed(),
)


@given(messages=st.lists(MESSAGE, min_size=1, max_size=6), maximum=st.integers(0, 2))
def test_codecs_decode_each_publish_and_its_retransmission_after_a_reconnect(
    codecs: list[Any], messages: list[tuple[Any, ...]], maximum: int
) -> None:
    sim = connected({0x22: maximum})
    aliases = Aliases(maximum)
    unacknowledged = []
    for topic, payload, qos, retain, properties in messages:
        before = len(sim.stream.written)
        packet_id = sim.client.publish(topic, payload, qos, retain, pack(**properties))
        (data,) = written_after(sim, before)
        fields = {"topic": topic, "payload": payload, "qos": qos, "retain": retain, "dup": False}
        fields["packet_id"] = packet_id if qos else 0
        expected = aliases.expected(data, codecs[0], fields, strategies.as_properties(properties))
        check_decoded(codecs, data, expected)
        if qos:
            unacknowledged.append((fields, strategies.as_properties(properties)))
    sim.connect_reply = connack({0x22: maximum}, present=True)
    sim.stream.closed_by_broker = True
    sim.client.poll(3000)
    aliases = Aliases(maximum)
    resent = split_packets(sim.stream.written)[1:]
    assert len(resent) == len(unacknowledged)
    for data, (fields, properties) in zip(resent, unacknowledged):
        check_decoded(codecs, data, aliases.expected(data, codecs[0], fields | {"dup": True}, properties))


def test_a_topic_is_sent_once_and_then_replaced_by_its_alias(codecs: list[Any]) -> None:
    for _ in range(2):
        sim = connected({0x22: 1})
        aliases = Aliases(1)
        for number in range(3):
            before = len(sim.stream.written)
            sim.client.publish("plant/one", b"%d" % number)
            (data,) = written_after(sim, before)
            fields = {
                "topic": "plant/one",
                "payload": b"%d" % number,
                "qos": 0,
                "retain": False,
                "dup": False,
            }
            check_decoded(codecs, data, aliases.expected(data, codecs[0], fields | {"packet_id": 0}, {}))
        assert aliases.used == 2


ORDER = ("qos", "no_local", "retain_as_published", "retain_handling")
OPTIONS = st.fixed_dictionaries(
    {
        "qos": st.integers(0, 2),
        "no_local": st.booleans(),
        "retain_as_published": st.booleans(),
        "retain_handling": st.integers(0, 2),
    }
)


@given(
    wanted=st.lists(
        st.tuples(strategies.topic_filter(), OPTIONS), min_size=1, max_size=4, unique_by=lambda pair: pair[0]
    ),
    identifiers=st.sampled_from((None, 0, 1)),
)
def test_codecs_decode_subscribe_and_unsubscribe(
    codecs: list[Any], wanted: list[tuple[str, dict[str, Any]]], identifiers: int | None
) -> None:
    sim = connected({} if identifiers is None else {0x29: identifiers})
    used_identifiers = set()
    for name, options in wanted:
        if name.startswith("$share/"):
            options["no_local"] = False  # not allowed for a shared subscription
        before = len(sim.stream.written)
        sim.client.subscribe(name, print, **options)
        (data,) = written_after(sim, before)
        seen = codecs[0].decode(data)
        packet_id = seen["packet_id"]
        assert packet_id
        properties = {}
        if identifiers != 0:
            properties[0x0B] = seen.properties[0x0B]
            used_identifiers.add(seen.properties[0x0B][0])
        fields = {"packet_id": packet_id, "filters": [(name, *(options[key] for key in ORDER))]}
        check_decoded(codecs, data, Packet("SUBSCRIBE", fields, properties))
        sim.stream.inbox += make_packet(0x90, packet_id.to_bytes(2, "big"), b"\x00\x00")
        sim.client.poll()
    assert identifiers == 0 or len(used_identifiers) == len(wanted)
    for name, _ in wanted:
        before = len(sim.stream.written)
        sim.client.unsubscribe(name)
        (data,) = written_after(sim, before)
        packet_id = codecs[0].decode(data)["packet_id"]
        assert packet_id
        check_decoded(codecs, data, Packet("UNSUBSCRIBE", {"packet_id": packet_id, "filters": [name]}))


@given(packet_id=strategies.IDENTIFIER, qos=st.integers(1, 2), succeeds=st.booleans())
def test_puback_and_pubrec_report_success_or_a_failed_handler(
    codecs: list[Any], packet_id: int, qos: int, succeeds: bool
) -> None:
    sim = connected()
    sim.client.on_error = lambda error: None
    sim.client.subscribe("#", lambda m: None if succeeds else 1 // 0)
    sim.client.poll()
    before = len(sim.stream.written)
    sim.stream.inbox += publish_packet(b"a/b", b"x", qos, packet_id)
    (data,) = written_after(sim, before)
    fields = {"packet_id": packet_id, "reason": 0 if succeeds else 0x80}
    check_decoded(codecs, data, Packet("PUBACK" if qos == 1 else "PUBREC", fields))


@given(packet_id=strategies.IDENTIFIER, known=st.booleans())
def test_pubcomp_reports_an_unknown_packet_identifier(codecs: list[Any], packet_id: int, known: bool) -> None:
    sim = connected()
    if known:
        sim.stream.inbox += publish_packet(b"a/b", b"x", 2, packet_id)
        sim.client.poll()
    before = len(sim.stream.written)
    sim.stream.inbox += make_packet(0x62, packet_id.to_bytes(2, "big"))
    (data,) = written_after(sim, before)
    check_decoded(codecs, data, Packet("PUBCOMP", {"packet_id": packet_id, "reason": 0 if known else 0x92}))


@given(packet_id=strategies.IDENTIFIER, known=st.booleans())
def test_pubrel_reports_an_unknown_packet_identifier(codecs: list[Any], packet_id: int, known: bool) -> None:
    sim = connected()
    if known:
        packet_id = sim.client.publish("a", b"x", qos=2)
    before = len(sim.stream.written)
    sim.stream.inbox += make_packet(0x50, packet_id.to_bytes(2, "big"))
    (data,) = written_after(sim, before)
    check_decoded(codecs, data, Packet("PUBREL", {"packet_id": packet_id, "reason": 0 if known else 0x92}))


@given(keep_alive=st.integers(5, 1000))
def test_an_idle_client_sends_pingreq_within_the_keep_alive_time(codecs: list[Any], keep_alive: int) -> None:
    sim = connected(keep_alive=keep_alive)
    before = len(sim.stream.written)
    sim.client.poll(keep_alive * 1000)
    (data,) = written_after(sim, before)
    check_decoded(codecs, data, Packet("PINGREQ"))


def test_disconnect_has_reason_code_0_by_default(codecs: list[Any]) -> None:
    sim = connected()
    before = len(sim.stream.written)
    sim.client.disconnect()
    (data,) = split_packets(sim.stream.written[before:])
    check_decoded(codecs, data, Packet("DISCONNECT", {"reason": 0}))


@given(
    reason=st.sampled_from(b"\x00\x04\x80\x81\x82\x83\x90\x93\x94\x95\x96\x97\x98\x99"),
    properties=strategies.packed(strategies.PACKED_DISCONNECT),
)
def test_disconnect_carries_the_reason_code_and_properties_of_the_caller(
    codecs: list[Any], reason: int, properties: dict[str, Any]
) -> None:
    sim = connected()
    before = len(sim.stream.written)
    sim.client.disconnect(reason, pack(**properties))
    (data,) = split_packets(sim.stream.written[before:])
    check_decoded(
        codecs, data, Packet("DISCONNECT", {"reason": reason}, strategies.as_properties(properties))
    )


def test_the_client_answers_an_invalid_packet_with_disconnect_and_its_reason_code(codecs: list[Any]) -> None:
    for invalid, reason in (
        (b"\x30\x80\x80\x80\x80\x01", 0x81),
        (b"\x20\x03\x00\x00\x00", 0x82),
        (publish_packet(b"a/b", b"x", properties=b"\x23\x00\x01"), 0x94),
        (b"\x30\xff\x7f", 0x95),
    ):
        sim = connected(rx=256)
        stream = sim.stream
        before = len(stream.written)
        stream.inbox += invalid
        sim.client.poll()
        sim.client.poll()
        (data,) = split_packets(stream.written[before:])
        check_decoded(codecs, data, Packet("DISCONNECT", {"reason": reason}))


class AuthMethod:
    """An authentication method that sends the data passed to it."""

    method = "method"

    def __init__(self, first: bytes, then: bytes) -> None:
        self.first = first
        self.then = then

    def start(self) -> bytes:
        return self.first

    def challenge(self, data: bytes) -> bytes:
        return self.then

    def finish(self, data: bytes) -> None:
        pass


@given(first=st.binary(max_size=200), then=st.binary(max_size=200))
def test_connect_and_auth_carry_the_authentication_method_and_data(
    codecs: list[Any], first: bytes, then: bytes
) -> None:
    sim = Simulation(**SIZES)
    sim.connect_reply = make_packet(0xF0, b"\x18", put_properties({0x15: "method"}))
    sim.client.auth = AuthMethod(first, then)
    sim.client.connect(wait=False)
    for _ in range(3):
        assert not sim.client.poll()
    connect, answer = split_packets(sim.stream.written)
    for codec in codecs:
        seen = codec.decode(connect)
        assert (seen.properties[0x15], seen.properties[0x16]) == ("method", first), codec.name
    check_decoded(codecs, answer, Packet("AUTH", {"reason": 0x18}, {0x15: "method", 0x16: then}))
    sim.stream.inbox += connack({0x15: "method"})
    sim.client.poll()
    before = len(sim.stream.written)
    assert sim.client.reauthenticate(wait=False)
    (reauthentication,) = written_after(sim, before)
    check_decoded(codecs, reauthentication, Packet("AUTH", {"reason": 0x19}, {0x15: "method", 0x16: first}))


@given(packet_id=strategies.IDENTIFIER, qos=st.integers(1, 2))
def test_a_strict_client_reports_an_invalid_payload_format(
    codecs: list[Any], packet_id: int, qos: int
) -> None:
    sim = connected(strict=True)
    sim.client.on_error = lambda error: None
    before = len(sim.stream.written)
    sim.stream.inbox += publish_packet(b"a/b", b"\xff", qos, packet_id, b"\x01\x01")
    (data,) = written_after(sim, before)
    check_decoded(
        codecs, data, Packet("PUBACK" if qos == 1 else "PUBREC", {"packet_id": packet_id, "reason": 0x99})
    )


@given(
    topic=strategies.topic(),
    payload=strategies.payload(),
    client_id=strategies.text(exclude="+#$").filter(bool),
)
def test_a_request_carries_expiry_response_topic_and_correlation_data(
    codecs: list[Any], topic: str, payload: bytes, client_id: str
) -> None:
    sim = connected(client_id=client_id)
    responses: list[Any] = []
    before = len(sim.stream.written)
    while not sim.client.request(topic, payload, timeout=1000, on_response=responses.append):
        for packet in written_after(sim, before):
            if packet[0] == 0x82:
                sim.stream.inbox += make_packet(0x90, packet[2:4], b"\x00\x01")
        sim.client.poll()
    data = written_after(sim, before)[-1]
    seen = codecs[0].decode(data)
    correlation = seen.properties[0x09]
    fields = {"topic": topic, "payload": payload, "qos": seen["qos"], "retain": False, "dup": False}
    fields["packet_id"] = seen["packet_id"]
    response_topic = f"reply/{client_id}"
    check_decoded(codecs, data, Packet("PUBLISH", fields, {0x02: 1, 0x08: response_topic, 0x09: correlation}))
    sim.stream.inbox += publish_packet(
        response_topic.encode(), b"answer", properties=b"\x09" + binary(correlation)
    )
    sim.client.poll()
    assert [response.payload for response in responses] == [b"answer"]


@given(size=st.integers(0, 40000), qos=st.integers(0, 2), maximum=st.integers(0, 1))
def test_a_streamed_payload_is_a_single_publish_packet(
    codecs: list[Any], size: int, qos: int, maximum: int
) -> None:
    sim = connected({0x22: maximum}, tx=256, outbox=512)
    before = len(sim.stream.written)
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    streaming.send(sim.client, "large", BytesIO(payload), size, qos=qos)
    written = -1
    while written < len(sim.stream.written):
        written = len(sim.stream.written)
        sim.client.poll()
    (data,) = split_packets(sim.stream.written[before:])
    seen = codecs[0].decode(data)
    fields = {"topic": "large", "payload": payload, "qos": qos, "retain": False, "dup": False}
    fields["packet_id"] = seen["packet_id"]
    alias = seen.properties.get(0x23)
    check_decoded(codecs, data, Packet("PUBLISH", fields, {0x23: alias} if alias else {}))
