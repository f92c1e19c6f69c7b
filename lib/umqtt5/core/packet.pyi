import builtins
from typing import Literal, overload

PROPERTY_TABLE: bytes

class Packet:
    packet_id: int
    """The packet identifier, 0 in a message of QoS 0."""
    reason: int
    """The reason code (section 2.4)."""
    qos: int
    """The QoS of a message: 0, 1 or 2."""
    retain: bool
    """Whether the message is a retained one, as the broker has set it."""
    dup: bool
    """Whether the broker may have sent the message before."""
    session_present: bool
    """In a CONNACK: whether the broker has kept the session."""
    allowed_properties: tuple[int, ...]
    property_bits: int
    value: int
    subscription_id: int
    topic_buf: bytes | bytearray
    topic_start: int
    topic_end: int
    properties_start: int
    properties_end: int
    payload_start: int
    payload_end: int

    def __init__(self, buf: bytes | bytearray) -> None: ...
    def __len__(self) -> int: ...
    @builtins.property
    def topic(self) -> str:
        """The topic name as a new str."""
    @builtins.property
    def payload(self) -> bytes:
        """The payload as new bytes."""
    def equals(self, data: bytes | bytearray | memoryview) -> bool: ...
    def copy_into(self, buf: bytearray | memoryview, at: int = 0) -> int: ...
    def refuse(self, reason: int = 0x80) -> None: ...
    @overload
    def property(
        self, identifier: Literal[0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F], nth: int = 0
    ) -> str | None: ...
    @overload
    def property(
        self,
        identifier: Literal[
            0x01,
            0x02,
            0x0B,
            0x11,
            0x13,
            0x17,
            0x18,
            0x19,
            0x21,
            0x22,
            0x23,
            0x24,
            0x25,
            0x27,
            0x28,
            0x29,
            0x2A,
        ],
        nth: int = 0,
    ) -> int | None: ...
    @overload
    def property(self, identifier: Literal[0x09, 0x16], nth: int = 0) -> bytes | None: ...
    @overload
    def property(self, identifier: Literal[0x26], nth: int = 0) -> tuple[str, str] | None: ...
    @overload
    def property(self, identifier: int, nth: int = 0) -> int | str | bytes | tuple[str, str] | None: ...
    def int_property(self, identifier: int, default: int) -> int: ...
    def find_property(self, identifier: int, nth: int = 0) -> int: ...
    def set_plain_ack(self, packet_id: int, reason: int) -> None: ...
    def _check_properties(self, allowed: int) -> int: ...
    def parse(self, first: int, at: int, end: int) -> int: ...
