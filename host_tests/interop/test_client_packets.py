"""Every packet that the client makes is accepted by each judge, which reads in it what was asked for."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from simulation import World

from helper import message, packet
from host_tests.interop import strategies
from host_tests.interop.reference_packets import Packet, binary, put_properties, split
from umqtt5 import streaming as stream
from umqtt5.properties import pack

SIZES: dict[str, Any] = {"tx": 8192, "outbox": 16384, "inflight": 16}


def connack(properties: dict[int, Any] | None = None, present: bool = False) -> bytes:
    return bytes(packet(0x20, bytes((present, 0)), put_properties(properties or {})))


def connected(properties: dict[int, Any] | None = None, **options: Any) -> Any:
    world = World(**{**SIZES, **options})
    world.greeting = connack(properties)
    world.client.connect()
    return world


def after(world: Any, before: int) -> list[bytes]:
    """The packets that the client has written behind the first `before` bytes."""
    world.client.poll()
    world.client.poll()
    return split(world.stream.written[before:])


def judged(judges: list[Any], data: bytes, expected: Packet) -> None:
    for judge in judges:
        assert judge.decode(data) == judge.sees(expected), judge.name


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
    asked=strategies.packed(strategies.PACKED_CONNECT),
)
def test_connect(
    judges: list[Any],
    options: dict[str, Any],
    will: tuple[Any, ...] | None,
    properties: dict[str, Any],
    asked: dict[str, Any],
) -> None:
    world = World(tx=8192, properties=pack(**asked), **options)
    expected_will = None
    if will:
        topic, payload, qos, retain, delay = will
        world.client.will(topic, payload, qos, retain, delay, properties=pack(**properties))
        expected_will = {
            "topic": topic,
            "payload": payload,
            "qos": qos,
            "retain": retain,
            "properties": strategies.as_properties(properties) | ({0x18: delay} if delay else {}),
        }
    world.client.connect()
    expected = {
        0x21: options["inflight"],
        0x27: options["rx"],
        0x11: options.get("session_expiry", 3600),
        0x22: options.get("topic_alias_maximum", 0),
        **strategies.as_properties(asked),
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
    (data,) = split(world.stream.written)
    judged(judges, data, Packet("CONNECT", fields, expected))
    # the second CONNECT wants the session back
    world.stream.gone = True
    world.client.poll(3000)
    data = split(world.stream.written)[0]  # and pings
    judged(judges, data, Packet("CONNECT", {**fields, "clean_start": False}, expected))


class Aliases:
    """What a server makes of the aliases in one connection (3.3.2.3.4)."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.topics: dict[int, str] = {}
        self.used = 0

    def expected(self, data: bytes, judge: Any, fields: dict[str, Any], properties: dict[int, Any]) -> Packet:
        """`fields` as they have to be on the wire, where the packet may use an alias for its topic."""
        seen = judge.decode(data)
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
def test_publish_with_aliases_and_again_after_a_cut(
    judges: list[Any], messages: list[tuple[Any, ...]], maximum: int
) -> None:
    world = connected({0x22: maximum})
    aliases = Aliases(maximum)
    unacknowledged = []
    for topic, payload, qos, retain, properties in messages:
        before = len(world.stream.written)
        packet_id = world.client.publish(topic, payload, qos, retain, pack(**properties))
        (data,) = after(world, before)
        fields = {"topic": topic, "payload": payload, "qos": qos, "retain": retain, "dup": False}
        fields["packet_id"] = packet_id if qos else 0
        expected = aliases.expected(data, judges[0], fields, strategies.as_properties(properties))
        judged(judges, data, expected)
        if qos:
            unacknowledged.append((fields, strategies.as_properties(properties)))
    world.greeting = connack({0x22: maximum}, present=True)
    world.stream.gone = True
    world.client.poll(3000)
    aliases = Aliases(maximum)
    again = split(world.stream.written)[1:]
    assert len(again) == len(unacknowledged)
    for data, (fields, properties) in zip(again, unacknowledged):
        judged(judges, data, aliases.expected(data, judges[0], fields | {"dup": True}, properties))


def test_a_topic_published_again_is_an_alias_to_all_judges(judges: list[Any]) -> None:
    for _ in range(2):
        world = connected({0x22: 1})
        aliases = Aliases(1)
        for number in range(3):
            before = len(world.stream.written)
            world.client.publish("plant/one", b"%d" % number)
            (data,) = after(world, before)
            fields = {
                "topic": "plant/one",
                "payload": b"%d" % number,
                "qos": 0,
                "retain": False,
                "dup": False,
            }
            judged(judges, data, aliases.expected(data, judges[0], fields | {"packet_id": 0}, {}))
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
def test_subscribe_and_unsubscribe(
    judges: list[Any], wanted: list[tuple[str, dict[str, Any]]], identifiers: int | None
) -> None:
    world = connected({} if identifiers is None else {0x29: identifiers})
    numbers = set()
    for name, options in wanted:
        if name.startswith("$share/"):
            options["no_local"] = False  # which is not for these
        before = len(world.stream.written)
        world.client.subscribe(name, print, **options)
        (data,) = after(world, before)
        seen = judges[0].decode(data)
        packet_id = seen["packet_id"]
        assert packet_id
        properties = {}
        if identifiers != 0:
            properties[0x0B] = seen.properties[0x0B]
            numbers.add(seen.properties[0x0B][0])
        fields = {"packet_id": packet_id, "filters": [(name, *(options[key] for key in ORDER))]}
        judged(judges, data, Packet("SUBSCRIBE", fields, properties))
        world.stream.inbox += packet(0x90, packet_id.to_bytes(2, "big"), b"\x00\x00")
        world.client.poll()
    assert identifiers == 0 or len(numbers) == len(wanted)
    for name, _ in wanted:
        before = len(world.stream.written)
        world.client.unsubscribe(name)
        (data,) = after(world, before)
        packet_id = judges[0].decode(data)["packet_id"]
        assert packet_id
        judged(judges, data, Packet("UNSUBSCRIBE", {"packet_id": packet_id, "filters": [name]}))


@given(packet_id=strategies.IDENTIFIER, qos=st.integers(1, 2), good=st.booleans())
def test_puback_and_pubrec(judges: list[Any], packet_id: int, qos: int, good: bool) -> None:
    world = connected()
    world.client.on_error = lambda error: None
    world.client.subscribe("#", lambda m: None if good else 1 // 0)
    world.client.poll()
    before = len(world.stream.written)
    world.stream.inbox += message(b"a/b", b"x", qos, packet_id)
    (data,) = after(world, before)
    fields = {"packet_id": packet_id, "reason": 0 if good else 0x80}
    judged(judges, data, Packet("PUBACK" if qos == 1 else "PUBREC", fields))


@given(packet_id=strategies.IDENTIFIER, known=st.booleans())
def test_pubcomp(judges: list[Any], packet_id: int, known: bool) -> None:
    world = connected()
    if known:
        world.stream.inbox += message(b"a/b", b"x", 2, packet_id)
        world.client.poll()
    before = len(world.stream.written)
    world.stream.inbox += packet(0x62, packet_id.to_bytes(2, "big"))
    (data,) = after(world, before)
    judged(judges, data, Packet("PUBCOMP", {"packet_id": packet_id, "reason": 0 if known else 0x92}))


@given(packet_id=strategies.IDENTIFIER, known=st.booleans())
def test_pubrel(judges: list[Any], packet_id: int, known: bool) -> None:
    world = connected()
    if known:
        packet_id = world.client.publish("a", b"x", qos=2)
    before = len(world.stream.written)
    world.stream.inbox += packet(0x50, packet_id.to_bytes(2, "big"))
    (data,) = after(world, before)
    judged(judges, data, Packet("PUBREL", {"packet_id": packet_id, "reason": 0 if known else 0x92}))


@given(keep_alive=st.integers(5, 1000))
def test_pingreq(judges: list[Any], keep_alive: int) -> None:
    world = connected(keep_alive=keep_alive)
    before = len(world.stream.written)
    world.client.poll(keep_alive * 1000)
    (data,) = after(world, before)
    judged(judges, data, Packet("PINGREQ"))


def test_disconnect(judges: list[Any]) -> None:
    world = connected()
    before = len(world.stream.written)
    world.client.disconnect()
    (data,) = split(world.stream.written[before:])
    judged(judges, data, Packet("DISCONNECT", {"reason": 0}))


@given(
    reason=st.sampled_from(b"\x00\x04\x80\x81\x82\x83\x90\x93\x94\x95\x96\x97\x98\x99"),
    properties=strategies.packed(strategies.PACKED_DISCONNECT),
)
def test_disconnect_as_the_user_wants_it(judges: list[Any], reason: int, properties: dict[str, Any]) -> None:
    world = connected()
    before = len(world.stream.written)
    world.client.disconnect(reason, pack(**properties))
    (data,) = split(world.stream.written[before:])
    judged(judges, data, Packet("DISCONNECT", {"reason": reason}, strategies.as_properties(properties)))


def test_disconnect_for_a_fault(judges: list[Any]) -> None:
    for bad, reason in (
        (b"\x30\x80\x80\x80\x80\x01", 0x81),
        (b"\x20\x03\x00\x00\x00", 0x82),
        (message(b"a/b", b"x", properties=b"\x23\x00\x01"), 0x94),
        (b"\x30\xff\x7f", 0x95),
    ):
        world = connected(rx=256)
        stream = world.stream
        before = len(stream.written)
        stream.inbox += bad
        world.client.poll()
        world.client.poll()
        (data,) = split(stream.written[before:])
        judged(judges, data, Packet("DISCONNECT", {"reason": reason}))


class Method:
    """A method of authentication that says what it was given."""

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
def test_connect_and_auth_with_a_method(judges: list[Any], first: bytes, then: bytes) -> None:
    world = World(**SIZES)
    world.greeting = packet(0xF0, b"\x18", put_properties({0x15: "method"}))
    world.client.auth = Method(first, then)
    world.client.connect(wait=False)
    for _ in range(3):
        assert not world.client.poll()
    connect, answer = split(world.stream.written)
    for judge in judges:
        seen = judge.decode(connect)
        assert (seen.properties[0x15], seen.properties[0x16]) == ("method", first), judge.name
    judged(judges, answer, Packet("AUTH", {"reason": 0x18}, {0x15: "method", 0x16: then}))
    world.stream.inbox += connack({0x15: "method"})
    world.client.poll()
    before = len(world.stream.written)
    assert world.client.reauthenticate(wait=False)
    (again,) = after(world, before)
    judged(judges, again, Packet("AUTH", {"reason": 0x19}, {0x15: "method", 0x16: first}))


@given(packet_id=strategies.IDENTIFIER, qos=st.integers(1, 2))
def test_puback_and_pubrec_of_a_strict_client(judges: list[Any], packet_id: int, qos: int) -> None:
    world = connected(strict=True)
    world.client.on_error = lambda error: None
    before = len(world.stream.written)
    world.stream.inbox += message(b"a/b", b"\xff", qos, packet_id, b"\x01\x01")
    (data,) = after(world, before)
    judged(judges, data, Packet("PUBACK" if qos == 1 else "PUBREC", {"packet_id": packet_id, "reason": 0x99}))


@given(
    topic=strategies.topic(), payload=strategies.payload(), client_id=strategies.text(but="+#$").filter(bool)
)
def test_a_request(judges: list[Any], topic: str, payload: bytes, client_id: str) -> None:
    world = connected(client_id=client_id)
    told: list[Any] = []
    before = len(world.stream.written)
    while not world.client.request(topic, payload, timeout=1000, on_answer=told.append):
        for one in after(world, before):
            if one[0] == 0x82:
                world.stream.inbox += packet(0x90, one[2:4], b"\x00\x01")
        world.client.poll()
    data = after(world, before)[-1]
    seen = judges[0].decode(data)
    key = seen.properties[0x09]
    fields = {"topic": topic, "payload": payload, "qos": seen["qos"], "retain": False, "dup": False}
    fields["packet_id"] = seen["packet_id"]
    target = f"reply/{client_id}"
    judged(judges, data, Packet("PUBLISH", fields, {0x02: 1, 0x08: target, 0x09: key}))
    world.stream.inbox += message(target.encode(), b"answer", properties=b"\x09" + binary(key))
    world.client.poll()
    assert [answer.payload for answer in told] == [b"answer"]


@given(size=st.integers(0, 40000), qos=st.integers(0, 2), maximum=st.integers(0, 1))
def test_a_payload_in_pieces(judges: list[Any], size: int, qos: int, maximum: int) -> None:
    world = connected({0x22: maximum}, tx=256, outbox=512)
    before = len(world.stream.written)
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    stream.send(world.client, "large", BytesIO(payload), size, qos=qos)
    written = -1
    while written < len(world.stream.written):
        written = len(world.stream.written)
        world.client.poll()
    (data,) = split(world.stream.written[before:])
    seen = judges[0].decode(data)
    fields = {"topic": "large", "payload": payload, "qos": qos, "retain": False, "dup": False}
    fields["packet_id"] = seen["packet_id"]
    alias = seen.properties.get(0x23)
    judged(judges, data, Packet("PUBLISH", fields, {0x23: alias} if alias else {}))
