from collections.abc import Callable

from .core.client import Client
from .core.packet import Packet
from .core.subscriptions import Subscription
from .typing import Payload, TopicFilters

class PendingResponses:
    def __init__(self, client: Client) -> None: ...
    def add(self, topic: str, payload: Payload, qos: int, properties: bytes) -> bool: ...
    def poll(self, now: int) -> int: ...

def respond(
    client: Client,
    message: Packet,
    payload: Payload,
    qos: int | None = None,
    topic: str | None = None,
    properties: bytes = b"",
) -> bool: ...
def responder(
    client: Client,
    topic_filter: TopicFilters,
    function: Callable[[Packet], Payload | None],
    qos: int = 1,
    *,
    no_local: bool = False,
    retain_as_published: bool = False,
    retain_handling: int = 0,
    identifier: int | None = None,
    properties: bytes = b"",
) -> Subscription: ...
