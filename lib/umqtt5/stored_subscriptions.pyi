from .aio.client import Client as AsyncClient
from .core.client import Client

class StoredSubscriptions:
    leftovers: list[bytes]
    """Filters that an earlier program has left in the session and that are not unsubscribed yet."""
    error: OSError | MemoryError | None
    """The last error of the flash, None if there was none."""
    skipped_count: int
    """Number of filters for which the file had no room."""

    def __init__(self, client: Client, path: str, delay: int | None) -> None: ...

def attach(
    client: Client | AsyncClient, path: str = "/subscriptions", delay: int | None = 5000
) -> StoredSubscriptions: ...
