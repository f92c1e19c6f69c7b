from typing import Literal, overload

from .core.client import Client
from .core.topics import Topic
from .typing import Reader

@overload
def send(
    client: Client,
    topic: str | Topic,
    reader: Reader,
    size: int,
    qos: Literal[0] = 0,
    retain: bool = False,
    properties: bytes = b"",
) -> bool: ...
@overload
def send(
    client: Client,
    topic: str | Topic,
    reader: Reader,
    size: int,
    qos: int,
    retain: bool = False,
    properties: bytes = b"",
) -> int: ...
def is_sending(client: Client) -> bool: ...
