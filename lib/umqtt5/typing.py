"""Types for annotations. This module is not on a board: see docs/types.md."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

from .core.errors import MQTTError
from .core.packet import Packet

Buffer: TypeAlias = bytes | bytearray | memoryview
"""A payload that is not encoded; `publish` does not change it."""

Payload: TypeAlias = str | Buffer
"""A payload. A str is sent as UTF-8."""

TopicFilters: TypeAlias = str | bytes | Sequence[str | bytes]
"""A topic filter, or several for one SUBSCRIBE."""

LinkError: TypeAlias = MQTTError | OSError
"""The exception that has ended a connection."""

Ignored: TypeAlias = (
    float | str | bytes | bytearray | tuple[Any, ...] | list[Any] | dict[Any, Any] | set[Any] | None
)
"""The result of a handler or a callback, which the client ignores. A coroutine is refused."""

Handler: TypeAlias = Callable[[Packet], Ignored]
"""A handler of messages: `handler(message)`."""

ManualHandler: TypeAlias = Callable[[Packet, int], Ignored]
"""A handler for `ack="manual"`: `handler(message, token)`."""

Brokers: TypeAlias = str | Sequence[str | tuple[str, int]]
"""The broker's name or address, or a list of "name", "name:port" or (name, port)."""

User: TypeAlias = str | Callable[[], str | None] | None
"""A user name, or a function that returns it: see `Client.set_credentials`."""

Password: TypeAlias = str | Buffer | Callable[[], str | Buffer | None] | None
"""A password, or a function that returns it: see `Client.set_credentials`."""

Redirects: TypeAlias = bool | Callable[[str], tuple[str, int] | None] | None
"""The value of `Client.follow_redirects`. A function gets the reference and returns (host, port)."""

WhenFull: TypeAlias = Literal["oldest", "topic"] | None
"""The message to drop if the outbox is full: the oldest one, the oldest one of the same topic, or none."""


class Timeouts(TypedDict, total=False):
    """Separate timeouts in ms. A timeout that is missing is 10 s."""

    connect: int
    """Until the transport has opened the stream."""
    connack: int
    """Until the broker has answered CONNECT."""
    ack: int
    """Until the broker has acknowledged a packet."""
    write: int
    """Until the stream has accepted more bytes."""
    ping: int
    """Until the broker has answered PINGREQ."""


class Stream(Protocol):
    """A connection that a transport has begun to open; see `umqtt5.tcp`. It does not block.

    It may also have `do_handshake()`, `pollable` and `sock`.
    """

    def readinto(self, __buf: Any, __n: int) -> int | None:
        """Read up to n bytes into buf; return their number, 0 at the end, None if there is none yet."""

    def write(self, __buf: Any, __at: int, __n: int) -> int | None:
        """Write up to n bytes of buf from offset `at`; return their number, None if there is no room."""

    def close(self) -> object:
        """Close the connection."""


Ticks: TypeAlias = Any
"""The result of `time.ticks_ms()`. It is an int, but MicroPython's stubs have a class of their own for it."""

Transport: TypeAlias = Callable[[str, int], Stream]
"""A function that begins to open a connection to host and port; see `umqtt5.tcp`."""


class AuthMethod(Protocol):
    """A method of enhanced authentication, such as `umqtt5.scram.Scram`.

    If `challenge` may return None, the object also needs `work()`, which returns bytes or None.
    """

    @property
    def method(self) -> str:
        """The name of the method in CONNECT."""
        ...

    def start(self) -> bytes:
        """Return the first authentication data."""
        ...

    def challenge(self, __data: Any) -> bytes | None:
        """Return the answer to the broker's data."""

    def finish(self, __data: Any) -> object:
        """Check the broker's last data. Raises an exception to refuse the broker."""


class Reader(Protocol):
    """A source of a payload for `streaming.send`, such as a file. At QoS 1 and 2 it also needs `seek`."""

    def readinto(self, __buf: Any) -> int | None:
        """Fill buf; return the number of bytes, 0 at the end, None if there is none yet."""
