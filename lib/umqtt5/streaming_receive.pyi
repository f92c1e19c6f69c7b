from collections.abc import Callable

from .core.client import Client
from .core.packet import Packet
from .core.subscriptions import Subscription
from .typing import Ignored, TopicFilters

def receive(
    client: Client,
    topic_filter: TopicFilters,
    begin: Callable[[Packet, int], Callable[[memoryview | bytes | None], Ignored] | None],
    qos: int = 1,
    max_size: int = 65536,
) -> Subscription: ...
