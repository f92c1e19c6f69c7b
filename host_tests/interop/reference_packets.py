"""Reference model of an MQTT 5.0 packet (type, fields, properties), and an encoder for a server's packets.

Properties are a dict by identifier. A value is an int, a str or bytes; User Properties (0x26) are a list of
pairs, Subscription Identifiers (0x0B) a list of numbers.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

PACKET_TYPES = (
    "",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
)
FLAGS = {"PUBREL": 2, "SUBSCRIBE": 2, "UNSUBSCRIBE": 2}
ACKS = ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP")

USER, SUBSCRIPTION_IDENTIFIER, TOPIC_ALIAS = 0x26, 0x0B, 0x23

# data type of each property (2.2.2.2)
PROPERTY_TYPES = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), "byte"),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), "u16"),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), "u32"),
    0x0B: "varint",
    **dict.fromkeys((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F), "text"),
    **dict.fromkeys((0x09, 0x16), "binary"),
    0x26: "pair",
}
_ACK_PROPERTIES = frozenset((0x1F, 0x26))
ALLOWED_PROPERTIES = {
    "CONNECT": frozenset((0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27)),
    "WILL": frozenset((0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26)),
    "CONNACK": frozenset(
        (0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A)
    ),
    "PUBLISH": frozenset((0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26)),
    **dict.fromkeys((*ACKS, "SUBACK", "UNSUBACK"), _ACK_PROPERTIES),
    "SUBSCRIBE": frozenset((0x0B, 0x26)),
    "UNSUBSCRIBE": frozenset((0x26,)),
    "DISCONNECT": frozenset((0x11, 0x1C, 0x1F, 0x26)),
    "AUTH": frozenset((0x15, 0x16, 0x1F, 0x26)),
}
# reason codes that a server may send, by packet type (the tables of 3.2.2.2, 3.4.2.1 and so on)
_PUBACK = b"\x00\x10\x80\x83\x87\x90\x91\x97\x99"
SERVER_REASON_CODES = {
    "CONNACK": b"\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8c\x90\x95\x97\x99\x9a\x9b\x9c\x9d\x9f",
    "PUBACK": _PUBACK,
    "PUBREC": _PUBACK,
    "PUBREL": b"\x00\x92",
    "PUBCOMP": b"\x00\x92",
    "SUBACK": b"\x00\x01\x02\x80\x83\x87\x8f\x91\x97\x9e\xa1\xa2",
    "UNSUBACK": b"\x00\x11\x80\x83\x87\x8f\x91",
    "DISCONNECT": b"\x00\x80\x81\x82\x83\x87\x89\x8b\x8d\x8e\x8f\x90\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c"
    b"\x9d\x9e\x9f\xa0\xa1\xa2",
    "AUTH": b"\x00\x18\x19",
}


@dataclass
class Packet:
    """A packet; `kind` is its type, such as "PUBLISH"."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    properties: dict[int, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def copy(self) -> Packet:
        return copy.deepcopy(self)


class RejectedError(Exception):
    """Raised by a codec for bytes that it rejects."""


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes((value & 127 | 128,))
        value >>= 7
    return out + bytes((value,))


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def binary(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return u16(len(data)) + data


def put_property(identifier: int, value: Any) -> bytes:
    kind = PROPERTY_TYPES[identifier]
    if kind == "pair":
        data = binary(value[0]) + binary(value[1])
    elif kind == "varint":
        data = varint(value)
    elif kind in ("text", "binary"):
        data = binary(value)
    else:
        data = value.to_bytes({"byte": 1, "u16": 2, "u32": 4}[kind], "big")
    return bytes((identifier,)) + data


def put_properties(properties: dict[int, Any]) -> bytes:
    out = b""
    for identifier, value in properties.items():
        for item in value if identifier in (USER, SUBSCRIPTION_IDENTIFIER) else [value]:
            out += put_property(identifier, item)
    return varint(len(out)) + out


def make_packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + varint(len(body)) + body


def encode(packet: Packet) -> bytes:
    """Encode a packet that a server may send, in its shortest form."""
    kind = packet.kind
    first = PACKET_TYPES.index(kind) << 4 | FLAGS.get(kind, 0)
    properties = put_properties(packet.properties)
    if kind == "PUBLISH":
        first |= packet["dup"] << 3 | packet["qos"] << 1 | packet["retain"]
        body = binary(packet["topic"]) + (u16(packet["packet_id"]) if packet["qos"] else b"")
        body += properties + packet["payload"]
    elif kind == "CONNACK":
        body = bytes((packet["session_present"], packet["reason"])) + properties
    elif kind in ("SUBACK", "UNSUBACK"):
        body = u16(packet["packet_id"]) + properties + bytes(packet["reasons"])
    elif kind == "PINGRESP":
        body = b""
    else:
        body = u16(packet["packet_id"]) if kind in ACKS else b""
        if packet.properties:
            body += bytes((packet["reason"],)) + properties
        elif packet["reason"]:
            body += bytes((packet["reason"],))
    return make_packet(first, body)


def split_packets(data: bytes) -> list[bytes]:
    """Split a stream into its packets. Raises AssertionError or IndexError if the last one is incomplete."""
    out = []
    while data:
        at, size, shift = 1, 0, 0
        while True:
            size |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                break
        assert at + size <= len(data), data
        out.append(data[: at + size])
        data = data[at + size :]
    return out
