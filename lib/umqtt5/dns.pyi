from collections.abc import Sequence
from typing import Any

from .typing import Ticks

servers: Sequence[str | tuple[str, int]] | None
"""DNS servers: IPv4 addresses, or pairs (address, port). None means those of the system."""
mdns_server: tuple[str, int]

class LookupPending(OSError):
    lookup: Lookup
    """The lookup that the client runs before it calls the transport again."""

    def __init__(self, lookup: Lookup) -> None: ...

def remember(name: str, addresses: Sequence[str]) -> None: ...
def resolve(host: str) -> str: ...

class Lookup:
    name: str
    timeout: int
    """ms; it can be changed until the first `step`."""
    address: str | None
    """The address, None until it is known."""
    pollable: Any
    """The object that is readable when an answer has arrived; None before the first `step`."""
    is_use: bool
    """Whether the next lookup of this name returns another address."""

    def __init__(self, name: str, timeout: int = 10000) -> None: ...
    def step(self, now: Ticks) -> int: ...
    def close(self) -> None: ...
