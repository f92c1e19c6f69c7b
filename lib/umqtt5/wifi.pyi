from collections.abc import Callable, Sequence
from typing import Any

from .typing import Ignored

class Wifi:
    failures: int
    """Number of failed attempts in a row."""
    is_connected: bool
    """Whether the network was connected at the last `poll`."""
    status: str
    """The state in words, or the cause of the last failure and what to do."""
    on_status: Callable[[str], Ignored] | None
    """`on_status(text)`: the status has changed; `text` is "Wi-Fi: " and the status."""
    wlan: Any
    """The `network.WLAN`, None if the radio is off or the computer has none."""
    networks: list[tuple[str, str]] | None
    """The pairs (ssid, password), None on a computer."""
    prefix: str
    options: dict[str, Any] | None
    reported: list[str]

    def __init__(
        self,
        ssid: str | Sequence[tuple[str, str]],
        password: str = "",
        *,
        hostname: str | None = None,
        country: str | None = None,
        address: tuple[str, str, str, str] | None = None,
        power_save: bool = False,
    ) -> None: ...
    def poll(self, is_online: bool = True) -> bool: ...
    def wait(self, timeout: int | None = None) -> bool: ...
    def stop(self) -> None: ...
