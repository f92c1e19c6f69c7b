"""Hypothesis strategies for valid text, topics, topic filters, properties and packets of a server."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from host_tests.interop.reference_packets import (
    ALLOWED_PROPERTIES,
    PROPERTY_TYPES,
    SERVER_REASON_CODES,
    Packet,
)

U32 = st.one_of(st.integers(0, 300), st.integers(0, 0xFFFFFFFF))
U16 = st.one_of(st.integers(0, 300), st.integers(0, 0xFFFF))
IDENTIFIER = st.one_of(st.integers(1, 300), st.integers(1, 0xFFFF))


def text(max_size: int = 12, exclude: str = "") -> st.SearchStrategy[str]:
    """Draw a UTF-8 Encoded String without U+0000 and surrogates (1.5.4)."""
    characters = st.characters(exclude_categories=("Cs",), exclude_characters="\0" + exclude)
    common = st.sampled_from([c for c in "ab/ é\ufeff\U0001f600" if c not in exclude])
    return st.text(st.one_of(common, characters), max_size=max_size)


def topic() -> st.SearchStrategy[str]:
    return text(exclude="+#$").filter(bool)


def payload() -> st.SearchStrategy[bytes]:
    return st.one_of(st.binary(max_size=20), st.binary(min_size=100, max_size=300))


@st.composite
def topic_filter(draw: st.DrawFn) -> str:
    levels = draw(st.lists(st.one_of(st.just("+"), text(4, "+#/$")), min_size=1, max_size=4))
    if draw(st.booleans()):
        levels.append("#")
    name = "/".join(levels) or "a"
    return draw(st.sampled_from(("", "", "$share/group/"))) + name


def pairs() -> st.SearchStrategy[list[tuple[str, str]]]:
    # "key" is drawn often, so that names repeat
    return st.lists(st.tuples(st.one_of(st.just("key"), text()), text()), min_size=1, max_size=4)


# arguments of `umqtt5.properties.pack` for PUBLISH, except the topic alias: (identifier, values)
PACKED = {
    "payload_format": (0x01, st.integers(0, 1)),
    "message_expiry": (0x02, U32),
    "content_type": (0x03, text()),
    "response_topic": (0x08, topic()),
    "correlation_data": (0x09, st.binary(max_size=20)),
    "user_properties": (0x26, pairs()),
}
# arguments of `pack` for CONNECT and DISCONNECT
PACKED_CONNECT = {
    "request_problem_information": (0x17, st.integers(0, 1)),
    "request_response_information": (0x19, st.integers(0, 1)),
    "user_properties": (0x26, pairs()),
}
PACKED_DISCONNECT = {
    "session_expiry": (0x11, U32),
    "reason_string": (0x1F, text()),
    "user_properties": (0x26, pairs()),
}
_PACKED = {**PACKED, **PACKED_CONNECT, **PACKED_DISCONNECT}


def packed(table: dict[str, Any] = PACKED) -> st.SearchStrategy[dict[str, Any]]:
    """Draw arguments for `pack`."""
    return st.fixed_dictionaries({}, optional={name: values for name, (_, values) in table.items()})


def as_properties(arguments: dict[str, Any]) -> dict[int, Any]:
    """Return arguments of `pack` as properties by identifier."""
    return {_PACKED[name][0]: value for name, value in arguments.items()}


def _value(identifier: int) -> st.SearchStrategy[Any]:
    if identifier == 0x26:
        return pairs()
    if identifier == 0x08:
        return topic()
    kind = PROPERTY_TYPES[identifier]
    if kind == "byte":
        return st.integers(0, 1)
    if kind == "u32":
        return U32.filter(bool) if identifier == 0x27 else U32
    if kind == "u16":
        return U16.filter(bool) if identifier in (0x21, 0x23) else U16
    if kind == "binary":
        return st.binary(max_size=20)
    return text()


def properties(kind: str, exclude: tuple[int, ...] = ()) -> st.SearchStrategy[dict[int, Any]]:
    """Draw properties that a packet of this type may carry, without Subscription Identifiers."""
    allowed = sorted(ALLOWED_PROPERTIES[kind] - {0x0B, *exclude})
    return st.fixed_dictionaries({}, optional={identifier: _value(identifier) for identifier in allowed})


def connack(reasons: bytes = SERVER_REASON_CODES["CONNACK"]) -> st.SearchStrategy[Packet]:
    def build(reason: int, found: dict[int, Any]) -> Packet:
        return Packet("CONNACK", {"session_present": False, "reason": reason}, found)

    # CONNECT had no authentication method, so CONNACK has none [MQTT-4.12.0-6]
    return st.builds(build, st.sampled_from(reasons), properties("CONNACK", exclude=(0x15, 0x16)))


@st.composite
def publish(draw: st.DrawFn, aliases: int = 0, subscriptions: int = 2) -> Packet:
    qos = draw(st.integers(0, 2))
    found = draw(properties("PUBLISH", exclude=(0x23,)))
    if aliases and draw(st.booleans()):
        found[0x23] = draw(st.integers(1, aliases))
    if draw(st.booleans()):
        numbers = draw(st.permutations(range(1, subscriptions + 1)))
        found[0x0B] = numbers[: draw(st.integers(1, subscriptions))]
    fields = {
        "topic": draw(topic()),
        "payload": draw(payload()),
        "qos": qos,
        "retain": draw(st.booleans()),
        "dup": draw(st.booleans()) if qos else False,
        "packet_id": draw(IDENTIFIER) if qos else 0,
    }
    return Packet("PUBLISH", fields, found)


def ack(kind: str, packet_id: int, reasons: bytes | None = None) -> st.SearchStrategy[Packet]:
    def build(reason: int, found: dict[int, Any]) -> Packet:
        return Packet(kind, {"packet_id": packet_id, "reason": reason}, found)

    return st.builds(build, st.sampled_from(reasons or SERVER_REASON_CODES[kind]), properties(kind))


def suback(kind: str, packet_id: int) -> st.SearchStrategy[Packet]:
    def build(reason: int, found: dict[int, Any]) -> Packet:
        return Packet(kind, {"packet_id": packet_id, "reasons": [reason]}, found)

    return st.builds(build, st.sampled_from(SERVER_REASON_CODES[kind]), properties(kind))


def disconnect() -> st.SearchStrategy[Packet]:
    def build(reason: int, found: dict[int, Any]) -> Packet:
        return Packet("DISCONNECT", {"reason": reason}, found)

    # a server sends no Session Expiry Interval in DISCONNECT [MQTT-3.14.2-2]
    return st.builds(
        build, st.sampled_from(SERVER_REASON_CODES["DISCONNECT"]), properties("DISCONNECT", exclude=(0x11,))
    )
