"""Reading and writing MQTT 5.0 packets, as much as the scripted broker needs."""

from __future__ import annotations

from dataclasses import dataclass, field

# length of a property's value in bytes; "s" string or binary data, "v" variable byte integer, "p" string pair
_PROPERTY_KINDS = {
    0x01: 1, 0x02: 4, 0x03: "s", 0x08: "s", 0x09: "s", 0x0B: "v", 0x11: 4, 0x12: "s", 0x13: 2, 0x15: "s",
    0x16: "s", 0x17: 1, 0x18: 4, 0x19: 1, 0x1A: "s", 0x1C: "s", 0x1F: "s", 0x21: 2, 0x22: 2, 0x23: 2,
    0x24: 1, 0x25: 1, 0x26: "p", 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1,
}  # fmt: skip


class Malformed(ValueError):
    """Error: the device has sent a malformed packet."""


@dataclass
class Message:
    """A message; `properties` are encoded, without their length."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: bytes = b""
    expires_at: int | None = None  # time of the world


@dataclass
class Publish:
    """A PUBLISH packet of the device."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int
    properties: dict[int, list[bytes]]
    raw_properties: bytes = b""


@dataclass
class Connect:
    """A CONNECT packet."""

    client_id: str
    clean_start: bool
    keep_alive: int
    session_expiry: int
    receive_maximum: int
    max_packet: int
    user: str | None
    password: bytes | None
    will: Message | None = None
    will_delay: int = 0
    properties: dict[int, list[bytes]] = field(default_factory=dict)


class Reader:
    """Reads the fields of a packet in order. Raises Malformed if there are not enough bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, n: int) -> bytes:
        if self.at + n > len(self.data):
            raise Malformed("the packet is too short")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "big")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def string(self) -> str:
        try:
            return self.binary().decode()
        except UnicodeDecodeError as error:
            raise Malformed("not UTF-8") from error

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 21:
                raise Malformed("variable byte integer")

    def properties(self) -> tuple[dict[int, list[bytes]], bytes]:
        """Return the properties by identifier, and their bytes."""
        raw = self.take(self.varint())
        reader = Reader(raw)
        found: dict[int, list[bytes]] = {}
        while reader.at < len(raw):
            name = reader.number(1)
            kind = _PROPERTY_KINDS.get(name)
            if kind is None:
                raise Malformed(f"property 0x{name:02x}")
            start = reader.at
            if isinstance(kind, int):
                reader.take(kind)
            elif kind == "v":
                reader.varint()
            else:
                for _ in range(2 if kind == "p" else 1):
                    reader.binary()
            found.setdefault(name, []).append(raw[start : reader.at])
        return found, raw

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)


def varint(value: int) -> bytes:
    encoded = bytearray()
    while True:
        encoded.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(encoded)


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(2, "big") + data


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + varint(len(body)) + body


def split(buffer: bytearray) -> tuple[int, bytes] | None:
    """Remove the first complete packet, and return its first byte and its body; None if it is incomplete."""
    size = shift = 0
    for i in range(1, min(len(buffer), 5)):
        size |= (buffer[i] & 127) << shift
        shift += 7
        if buffer[i] < 128:
            if len(buffer) < i + 1 + size:
                return None
            first, body = buffer[0], bytes(buffer[i + 1 : i + 1 + size])
            del buffer[: i + 1 + size]
            return first, body
    if len(buffer) >= 5:
        raise Malformed("remaining length")
    return None


def parse_connect(body: bytes) -> Connect:
    reader = Reader(body)
    if reader.string() != "MQTT" or reader.number(1) != 5:
        raise Malformed("not MQTT 5")
    flags, keep_alive = reader.number(1), reader.number(2)
    properties, _ = reader.properties()

    def number(name: int, default: int) -> int:
        return int.from_bytes(properties[name][0], "big") if name in properties else default

    connect = Connect(
        reader.string(), bool(flags & 2), keep_alive, number(0x11, 0), number(0x21, 65535),
        number(0x27, 1 << 28), None, None, properties=properties,
    )  # fmt: skip
    if flags & 4:
        found, raw = reader.properties()
        if 0x18 in found:
            connect.will_delay = int.from_bytes(found[0x18][0], "big")
        connect.will = Message(reader.string(), reader.binary(), flags >> 3 & 3, bool(flags & 32), b"")
    if flags & 128:
        connect.user = reader.string()
    if flags & 64:
        connect.password = reader.binary()
    return connect


def parse_publish(first: int, body: bytes) -> Publish:
    reader = Reader(body)
    topic = reader.string()
    qos = first >> 1 & 3
    packet_id = reader.number(2) if qos else 0
    if qos and not packet_id:
        raise Malformed("packet identifier 0")
    properties, raw = reader.properties()
    return Publish(topic, reader.rest(), qos, bool(first & 1), bool(first & 8), packet_id, properties, raw)
