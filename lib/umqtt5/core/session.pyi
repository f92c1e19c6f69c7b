from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..typing import Ignored, Payload
from .errors import MQTTError
from .packet import Packet
from .subscriptions import Subscription, Subscriptions
from .topics import Topic

class Session:
    state: int
    """0 closed, 1 connecting, 2 connected, 3 closing."""
    client_id: bytes
    """The client identifier, which the broker may have assigned."""
    keep_alive: int
    """Seconds; the broker may have set it."""
    session_expiry: int
    """Seconds for which the broker keeps the session."""
    clean_start: bool
    """Whether the next connection begins a new session."""
    resumed: bool
    """Whether the broker has kept the session."""
    receive_maximum: int
    maximum_packet_size: int
    """Size in bytes of the largest packet that can be received, as announced to the broker."""
    response_information: str | None
    """The broker's Response Information."""
    framer: Any
    outbox: Any
    subscriptions: Subscriptions
    broker_limits: list[int]
    """Limits in CONNACK: the position is the property identifier minus 0x21."""
    timeouts: list[int]
    user: bytes | Callable[[], str | None] | None
    password: bytes | Callable[[], Payload | None] | None
    will: tuple[int, bytes] | None
    properties: bytes
    aliases: Any
    auth: Any
    strict: Any
    adapts_to_limits: bool
    """Whether QoS and RETAIN of a message are lowered to what the broker supports."""
    overflow_policy: Any
    stream_source: Any
    close_request: tuple[int, bytes] | None
    callbacks: Any
    on_ack: Callable[[Packet], Ignored] | None
    on_subscribed: Callable[[Subscription, Packet], Ignored] | None
    on_unsubscribed: Callable[[Subscription, Packet], Ignored] | None
    on_unhandled: Callable[[Packet], Ignored] | None
    on_error: Callable[[Exception], Ignored] | None
    on_connected: Callable[[], object] | None
    error: MQTTError | None
    is_busy: bool
    rx_paused: bool
    packet: Packet
    tx: bytearray
    pending_acks: int
    pending_subacks: int
    min_tx_room: int
    was_interrupted: bool
    messages_sent: int
    messages_received: int
    messages_resent: int
    messages_refused: int
    bytes_sent: int
    bytes_received: int
    bytes_saved: int
    """Number of bytes that topic aliases have saved."""

    def __init__(
        self,
        client_id: bytes,
        rx: int,
        tx: int,
        outbox: int,
        inflight: int,
        aliases: int,
        keep_alive: int,
        timeout: int,
    ) -> None: ...
    def open(self, now: int) -> None: ...
    def connection_lost(self) -> None: ...
    def close(self, reason: int, packet: bytes = b"") -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None: ...
    def receive_data(self, n: int, now: int) -> None: ...
    def parse(self) -> None: ...
    def has_output(self) -> bool: ...
    def prepare_write(self) -> int: ...
    def confirm_write(self, n: int, now: int) -> None: ...
    def ack(self, first_byte: int, packet_id: int, reason: int) -> None: ...
    def put(self, data: bytes, reserve: int = 8) -> bool: ...
    def publish(self, topic: Topic, payload: bytes | bytearray | memoryview) -> int: ...
    def tick(self, now: int) -> int: ...
