from collections.abc import Callable
from typing import overload

from .core.client import Client
from .core.packet import Packet
from .core.topics import Topic
from .typing import Ignored, Payload

class Request:
    key: bytes
    since: int
    timeout: int
    on_response: Callable[[Packet | None], Ignored] | None
    response: bytes | None

    def __init__(
        self, key: bytes, timeout: int, on_response: Callable[[Packet | None], Ignored] | None
    ) -> None: ...

class PendingRequests:
    def __init__(self, client: Client) -> None: ...
    def wait(
        self, topic: str | Topic, payload: Payload, timeout: int, qos: int, properties: bytes
    ) -> bytes: ...
    def send(
        self,
        topic: str | Topic,
        payload: Payload,
        timeout: int,
        on_response: Callable[[Packet | None], Ignored] | None,
        qos: int,
        properties: bytes,
    ) -> Request | None: ...
    def poll(self, now: int) -> int: ...

@overload
def request(
    client: Client,
    topic: str | Topic,
    payload: Payload,
    timeout: int = 10000,
    on_response: None = None,
    qos: int = 0,
    properties: bytes = b"",
) -> bytes: ...
@overload
def request(
    client: Client,
    topic: str | Topic,
    payload: Payload,
    timeout: int = 10000,
    *,
    on_response: Callable[[Packet | None], Ignored],
    qos: int = 0,
    properties: bytes = b"",
) -> bool: ...
