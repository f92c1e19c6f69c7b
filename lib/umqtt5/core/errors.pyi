from collections.abc import Callable
from types import TracebackType
from typing import Any

def explain(function: int, subject: object, detail: object) -> str | None: ...
def describe(error: MQTTError) -> object: ...
def describe_with_name(error: MQTTError) -> object: ...

class MQTTError(Exception):
    code: int
    """The reason code (section 2.4)."""
    detail: str
    """The broker's reason string or a text of this library, `""` if there is none."""
    from_broker: bool
    """Whether the error is from the broker's CONNACK or DISCONNECT."""
    is_refusal: bool
    """Whether the error is from the CONNACK."""
    host: str | None
    """Address of the broker if the error has ended a connection."""
    port: int | None
    """Port of the broker if the error has ended a connection."""
    phase: int
    server_reference: str | None
    """The broker's Server Reference; see `follow_redirects`."""

    def __init__(self, code: int, detail: str = "") -> None: ...
    @property
    def is_permanent(self) -> bool: ...

class CatchErrors:
    def __init__(
        self,
        kind: type[BaseException] | tuple[type[BaseException], ...],
        handler: Callable[[Any], object],
        session: Any = None,
    ) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool: ...
