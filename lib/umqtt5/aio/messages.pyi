from typing import Any, Literal, overload

from ..core.packet import Packet
from ..core.subscriptions import Subscription
from ..typing import TopicFilters
from .client import Client

WAIT_MESSAGE: int

class _Copy:
    properties: bytes
    """The encoded properties."""

    def __init__(self, packet: Packet) -> None: ...
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

class Ack(_Copy):
    packet_id: int
    """The packet identifier of the acknowledged packet."""
    reason: int
    """The reason code (section 2.4)."""

    @property
    def detail(self) -> str: ...

class Message(_Copy):
    topic: str
    """The topic name."""
    payload: bytes
    """The payload."""
    qos: int
    """The QoS: 0, 1 or 2."""
    retain: bool
    """Whether the message is a retained one, as the broker has set it."""
    packet_id: int
    """The packet identifier, 0 in a message of QoS 0."""
    token: int
    """Token of a deferred acknowledgement, -1 for none."""

    def equals(self, data: bytes | bytearray | memoryview) -> bool: ...

class MessageIterator:
    dropped: int
    """Number of dropped messages."""
    subscription: Subscription

    def __init__(
        self,
        client: Client,
        topic_filter: TopicFilters,
        qos: int,
        queue_size: int,
        overflow: Literal["oldest", "newest", "wait"],
        timeout: int | None,
        options: dict[str, Any],
    ) -> None: ...
    def __aiter__(self) -> MessageIterator: ...
    async def __anext__(self) -> Message: ...
    async def __aenter__(self) -> MessageIterator: ...
    async def __aexit__(self, *error: object) -> None: ...
    def close(self) -> None: ...
    def detach(self) -> list[Message]: ...
    def handle_suback(self, packet: Packet) -> None: ...
    def drop_unacked(self) -> None: ...
    def forget_tokens(self) -> None: ...
