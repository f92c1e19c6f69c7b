"""Reference decoder for packets of a server: slow, and as strict as the MQTT 5.0 standard allows.

It collects every fault of a packet, because a receiver may validate in any order (4.13.2) and then may
report any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from host_tests.interop.reference_packets import (
    ACKS,
    ALLOWED_PROPERTIES,
    FLAGS,
    PACKET_TYPES,
    PROPERTY_TYPES,
    SERVER_REASON_CODES,
    SUBSCRIPTION_IDENTIFIER,
    TOPIC_ALIAS,
    USER,
    Packet,
)

MALFORMED, PROTOCOL, TOPIC_NAME, ALIAS = 0x81, 0x82, 0x90, 0x94


@dataclass(frozen=True)
class Fault:
    """A violation of a `rule`, which starts with its section; `codes` are the reason codes that fit it.

    If the standard names no reason code, several fit. If `is_tolerable` is True, the rule binds only the
    sender, and the receiver may tolerate the violation.
    """

    rule: str
    codes: tuple[int, ...]
    is_tolerable: bool = False


class _Stop(Exception):
    """Raised if the rest of the packet cannot be decoded."""


class Reader:
    """Reads one complete packet, whose remaining length is valid."""

    def __init__(self, data: bytes) -> None:
        at = 1
        while data[at] > 127:
            at += 1
        self.flags = data[0] & 15
        self.kind = PACKET_TYPES[data[0] >> 4]
        self.data = data[at + 1 :]
        self.at = 0
        self.end = len(self.data)
        self.raw = b""  # bytes of the last string
        self.faults: list[Fault] = []
        self.packet = Packet(self.kind)

    def fault(self, rule: str, *codes: int, is_tolerable: bool = False) -> None:
        self.faults.append(Fault(rule, codes, is_tolerable))

    def stop(self, rule: str, *codes: int) -> _Stop:
        self.fault(rule, *codes)
        return _Stop()

    # ---- data types (1.5)

    def take(self, n: int) -> bytes:
        if self.at + n > self.end:
            raise self.stop("2.1.4 incomplete field", MALFORMED)
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "big")

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                if shift and not byte:
                    self.fault("1.5.5 not the shortest encoding", MALFORMED)
                return value
            shift += 7
            if shift == 28:
                raise self.stop("1.5.5 more than four bytes", MALFORMED)

    def text(self) -> str:
        self.raw = data = self.take(self.number(2))
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.fault("1.5.4 ill-formed UTF-8", MALFORMED)
            return ""
        if "\0" in text:
            self.fault("1.5.4 U+0000", MALFORMED)
        return text

    def identifier(self) -> int:
        value = self.number(2)
        if not value:
            self.fault("2.2.1 packet identifier 0", MALFORMED, PROTOCOL)
        return value

    # ---- properties (2.2.2)

    def value(self, kind: str) -> Any:
        if kind == "pair":
            return self.text(), self.text()
        if kind == "text":
            return self.text()
        if kind == "binary":
            return self.take(self.number(2))
        if kind == "varint":
            return self.varint()
        return self.number({"byte": 1, "u16": 2, "u32": 4}[kind])

    def property(self, found: dict[int, Any]) -> None:
        identifier = self.varint()
        kind = PROPERTY_TYPES.get(identifier)
        if kind is None:
            raise self.stop("2.2.2.2 unknown property", MALFORMED)
        if identifier not in ALLOWED_PROPERTIES.get(self.kind, ()):
            self.fault("2.2.2.2 property not allowed in this packet", MALFORMED)
        repeats = identifier == USER or (identifier == SUBSCRIPTION_IDENTIFIER and self.kind == "PUBLISH")
        if identifier in found and not repeats:
            self.fault("2.2.2 duplicate property", PROTOCOL)
        value = self.value(kind)
        self.bounds(identifier, kind, value)
        if repeats:
            found.setdefault(identifier, []).append(value)
        else:
            found.setdefault(identifier, [value] if identifier == SUBSCRIPTION_IDENTIFIER else value)

    def bounds(self, identifier: int, kind: str, value: Any) -> None:
        if kind == "byte" and value > 1:
            self.fault("2.2.2 byte value above 1", PROTOCOL)
        if identifier in (0x21, 0x27, SUBSCRIPTION_IDENTIFIER) and not value:
            self.fault("2.2.2 value 0", PROTOCOL)
        if identifier == TOPIC_ALIAS and not value:
            self.fault("3.3.2.3.4 topic alias 0", ALIAS)
        if identifier == 0x08 and ("+" in value or "#" in value):
            # [MQTT-3.3.2-14] binds the sender; no section requires the receiver to check
            self.fault(
                "3.3.2.3.5 wildcard in a response topic", PROTOCOL, MALFORMED, TOPIC_NAME, is_tolerable=True
            )

    def properties(self) -> None:
        size = self.varint()
        if self.at + size > self.end:
            raise self.stop("2.2.2.1 property length exceeds the packet", MALFORMED)
        outer, self.end = self.end, self.at + size
        while self.at < self.end:
            self.property(self.packet.properties)
        self.end = outer

    def reason(self) -> int:
        reason = self.number(1)
        self.known(reason)
        return reason

    def known(self, reason: int) -> None:
        if self.kind == "DISCONNECT" and reason == 4:
            self.fault("3.14.2.1 reason code for clients only", MALFORMED, PROTOCOL)
        elif reason not in SERVER_REASON_CODES[self.kind]:
            # the client takes any code in an answer to its own packet, because some brokers use other codes
            is_answer = self.kind in ("PUBACK", "PUBREC", "PUBCOMP", "SUBACK", "UNSUBACK")
            self.fault("2.4 unknown reason code", MALFORMED, PROTOCOL, is_tolerable=is_answer)

    # ---- packets (3)

    def connack(self) -> None:
        flags = self.number(1)
        if flags > 1:
            self.fault("3.2.2.1 reserved flags", MALFORMED)
        reason = self.reason()
        if flags & 1 and reason:
            self.fault("3.2.2.1.1 session present with an error", PROTOCOL)
        self.properties()
        if {0x15, 0x16} & self.packet.properties.keys():
            # [MQTT-4.12.0-6] binds the server
            self.fault("4.12 authentication not requested", PROTOCOL, is_tolerable=True)
        self.packet.fields.update(session_present=flags == 1, reason=reason)

    def publish(self) -> None:
        qos, dup = self.flags >> 1 & 3, self.flags >> 3 == 1
        if qos == 3:
            self.fault("3.3.1.2 QoS 3", MALFORMED)
        if dup and not qos:
            self.fault("3.3.1.1 DUP at QoS 0", MALFORMED, PROTOCOL)
        topic = self.text()
        if b"+" in self.raw or b"#" in self.raw:  # also if it is ill-formed UTF-8
            self.fault("3.3.2.1 wildcard in a topic name", TOPIC_NAME, MALFORMED, PROTOCOL)
        packet_id = self.identifier() if qos else 0
        self.properties()
        if not topic and TOPIC_ALIAS not in self.packet.properties:
            self.fault("3.3.2.1 empty topic without alias", PROTOCOL)
        payload = self.take(self.end - self.at)
        self.packet.fields.update(
            topic=topic, payload=payload, qos=qos, retain=self.flags & 1 == 1, dup=dup, packet_id=packet_id
        )

    def ack(self) -> None:
        self.packet.fields.update(packet_id=self.identifier(), reason=0)
        if self.at < self.end:
            self.packet.fields["reason"] = self.reason()
        if self.at < self.end:
            self.properties()

    def suback(self) -> None:
        packet_id = self.identifier()
        self.properties()
        reasons = list(self.take(self.end - self.at))
        if not reasons:
            self.fault("3.9.3 no reason code", MALFORMED, PROTOCOL)
        for reason in reasons:
            self.known(reason)
        self.packet.fields.update(packet_id=packet_id, reasons=reasons)

    def disconnect(self) -> None:
        self.packet.fields["reason"] = self.reason() if self.end else 0
        if self.at < self.end:
            self.properties()
        if 0x11 in self.packet.properties:
            self.fault(
                "3.14.2.2.2 session expiry interval from a server", MALFORMED, PROTOCOL
            )  # [MQTT-3.14.2-2]

    def auth(self) -> None:
        # the client of these tests has no authentication method, so every AUTH is a fault
        self.fault("3.15 AUTH without a method", PROTOCOL)
        if (self.reason() if self.end else 0) == 0x19:
            self.fault("3.15.2.1 reason code for clients only", MALFORMED, PROTOCOL)
        if self.at < self.end:
            self.properties()

    def read(self) -> None:
        kind = self.kind
        if not kind:
            raise self.stop("2.1.2 packet type 0", MALFORMED, PROTOCOL)
        if kind in ("CONNECT", "SUBSCRIBE", "UNSUBSCRIBE", "PINGREQ"):
            if self.flags != FLAGS.get(kind, 0):
                self.fault("2.1.3 reserved flags", MALFORMED)
            raise self.stop("2.1.2 packet type for clients only", PROTOCOL)
        if kind == "PUBLISH":
            self.publish()
            return
        if self.flags != FLAGS.get(kind, 0):
            self.fault("2.1.3 reserved flags", MALFORMED)
        if kind in ACKS:
            self.ack()
        elif kind in ("SUBACK", "UNSUBACK"):
            self.suback()
        elif kind == "CONNACK":
            self.connack()
        elif kind == "DISCONNECT":
            self.disconnect()
        elif kind == "AUTH":
            self.auth()
        if self.at < self.end:
            self.fault("2.1.4 trailing bytes", MALFORMED)


def decode(data: bytes) -> tuple[Packet, list[Fault]]:
    """Return the packet, as far as it can be decoded, and all faults in it."""
    reader = Reader(data)
    try:
        reader.read()
    except _Stop:
        pass
    return reader.packet, reader.faults


def read_frame(data: bytes, limit: int) -> tuple[bytes, list[Fault]]:
    """Return the first packet of a stream, and the faults of its header; `limit` is the Maximum Packet Size.

    The packet is b"" if it is incomplete or if its header has a fault.
    """
    size = shift = 0
    faults = []
    for at in range(1, 5):
        if at >= len(data):
            return b"", []
        size |= (data[at] & 127) << shift
        shift += 7
        if data[at] < 128:
            if at > 1 and not data[at]:
                faults.append(Fault("1.5.5 not the shortest encoding", (MALFORMED,)))
            if at + 1 + size > limit:
                faults.append(Fault("3.1.2.11.4 larger than Maximum Packet Size", (0x95,)))
            if faults:
                return b"", faults
            return (data[: at + 1 + size], []) if at + 1 + size <= len(data) else (b"", [])
    return b"", [Fault("1.5.5 more than four bytes", (MALFORMED,))]
