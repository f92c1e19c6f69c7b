from collections.abc import Callable

from .packet import Packet
from .session import Session

class Subscription:
    topic_filter: bytes
    """The topic filter in UTF-8."""
    identifier: int
    """The Subscription Identifier, 0 if there is none."""
    handler: Callable[[Packet], object] | None
    options: int
    reason: int | None
    """The granted QoS, 0x80 or more if the broker refuses, None before it has answered."""
    is_wanted: bool
    """False after `unsubscribe`."""
    filters: list[bytes] | None
    """The filters if there are several."""
    filter_count: int
    properties: bytes
    is_removed: bool
    """Whether UNSUBACK has arrived."""
    literals: list[bytes] | None
    multi_level: bytes

    def __init__(self, topic_filter: bytes) -> None: ...
    def matches(self, packet: Packet) -> bool: ...
    def encode(self, packet_id: int, identifier: int) -> bytes: ...

class Subscriptions:
    entries: list[Subscription]
    has_pending: bool

    def __init__(self, session: Session) -> None: ...
    def find(self, topic_filter: bytes) -> Subscription | None: ...
    def add(
        self, s: bytes | Subscription, handler: Callable[[Packet], object], options: int
    ) -> Subscription: ...
    def remove(self, s: bytes | Subscription) -> Subscription: ...
    def next_to_send(self) -> int: ...
    def handle_ack(self, s: Subscription, reason: int) -> None: ...
    def rewind(self, resumed: bool) -> None: ...
    def dispatch(self, packet: Packet) -> None: ...

def send_subscriptions(session: Session) -> None: ...
def handle_suback(session: Session, packet: Packet, first: int) -> int: ...
def report_subscribed(session: Session, s: Subscription) -> None: ...
