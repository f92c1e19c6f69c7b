from collections.abc import Callable
from ssl import SSLContext
from types import TracebackType
from typing import Literal, TypeVar, overload

from ..typing import (
    AuthMethod,
    Brokers,
    Handler,
    Ignored,
    LinkError,
    ManualHandler,
    Password,
    Payload,
    Redirects,
    Stream,
    Timeouts,
    TopicFilters,
    Transport,
    User,
    WhenFull,
)
from .packet import Packet
from .session import Session
from .subscriptions import Subscription
from .topics import Topic

_Handler = TypeVar("_Handler", bound=Handler)
_ManualHandler = TypeVar("_ManualHandler", bound=ManualHandler)

class Client:
    on_state: Callable[[Client, bool, LinkError | None], Ignored] | None
    """`on_state(client, connected, error)`: the connection was established or has ended."""
    on_ack: Callable[[Packet], Ignored] | None
    """`on_ack(answer)`: a message of QoS 1 or 2 was acknowledged, refused or dropped."""
    on_subscribed: Callable[[Subscription, Packet], Ignored] | None
    """`on_subscribed(subscription, answer)`: the broker has answered SUBSCRIBE."""
    on_unsubscribed: Callable[[Subscription, Packet], Ignored] | None
    """`on_unsubscribed(subscription, answer)`: the broker has answered UNSUBSCRIBE."""
    on_unhandled: Callable[[Packet], Ignored] | None
    """`on_unhandled(message)`: no handler matches this message."""
    on_error: Callable[[Exception], Ignored] | None
    """`on_error(exception)`: a handler or a callback has raised this exception. None prints it."""
    follow_redirects: Redirects
    """True to follow a Server Reference of the broker, or a function of it that returns (host, port)."""
    auth: AuthMethod | None
    """Method of enhanced authentication, such as `umqtt5.scram.Scram`. Set it before `connect`."""
    ack: Callable[[int], bool]
    """`ack(token)` acknowledges a message. It exists after the first `subscribe(..., ack="manual")`."""
    host: str
    """Name or address of the broker that the next connection uses."""
    port: int
    """Port of the broker."""
    timeout: int
    """ms to open the stream, and to write the DISCONNECT."""
    session: Session
    packet: Packet
    """The packet that was received last: in `on_state` the CONNACK or the broker's DISCONNECT."""
    stream: Stream | None
    """The stream of the transport, None without a connection."""
    error: LinkError | None
    """The exception that has ended the last connection, None if the client has ended it."""
    connection_count: int
    """Number of connections that the broker has accepted."""
    max_reconnect_delay: int
    """Maximum number of ms between two tries to connect."""
    has_permanent_error: bool
    """Whether retrying cannot fix `error`, for example a wrong password."""

    def __init__(
        self,
        host: Brokers,
        port: int | None = None,
        *,
        client_id: str = "",
        user: User = None,
        password: Password = None,
        keep_alive: int = 60,
        session_expiry: int = 3600,
        clean_start: bool = True,
        rx: int = 1024,
        tx: int = 1024,
        outbox: int = 2048,
        inflight: int = 8,
        aliases: int = 8,
        topic_alias_maximum: int = 0,
        properties: bytes = b"",
        strict: bool = False,
        when_full: WhenFull = None,
        timeout: int | Timeouts = 10000,
        ssl: SSLContext | None = None,
        transport: Transport | None = None,
    ) -> None: ...
    @property
    def is_connected(self) -> bool: ...
    def __enter__(self) -> Client: ...
    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
        /,
    ) -> None: ...
    def set_credentials(self, user: User, password: Password) -> None: ...
    def topic(self, name: str) -> Topic: ...
    def will(
        self,
        topic: str,
        payload: Payload,
        qos: int = 0,
        retain: bool = False,
        delay: int = 0,
        properties: bytes = b"",
    ) -> None: ...
    @overload
    def subscribe(
        self,
        topic_filter: TopicFilters,
        handler: Handler | None,
        qos: int = 0,
        *,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        ack: None = None,
        identifier: int | None = None,
        properties: bytes = b"",
    ) -> Subscription: ...
    @overload
    def subscribe(
        self,
        topic_filter: TopicFilters,
        handler: ManualHandler,
        qos: int = 0,
        *,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        ack: Literal["manual"],
        identifier: int | None = None,
        properties: bytes = b"",
    ) -> Subscription: ...
    @overload
    def on(
        self,
        topic_filter: TopicFilters,
        qos: int = 0,
        *,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        ack: None = None,
        identifier: int | None = None,
        properties: bytes = b"",
    ) -> Callable[[_Handler], _Handler]: ...
    @overload
    def on(
        self,
        topic_filter: TopicFilters,
        qos: int = 0,
        *,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        ack: Literal["manual"],
        identifier: int | None = None,
        properties: bytes = b"",
    ) -> Callable[[_ManualHandler], _ManualHandler]: ...
    def unsubscribe(self, topic_filter: TopicFilters, properties: bytes = b"") -> Subscription: ...
    @overload
    def publish(
        self,
        topic: str | Topic,
        payload: Payload,
        qos: Literal[0] = 0,
        retain: bool = False,
        properties: bytes = b"",
        wait: bool | int = False,
    ) -> bool: ...
    @overload
    def publish(
        self,
        topic: str | Topic,
        payload: Payload,
        qos: int,
        retain: bool = False,
        properties: bytes = b"",
        wait: bool | int = False,
    ) -> int: ...
    def cancel(self, packet_id: int) -> bool: ...
    @overload
    def request(
        self,
        topic: str | Topic,
        payload: Payload,
        *,
        timeout: int = 10000,
        on_response: None = None,
        qos: int = 0,
        properties: bytes = b"",
    ) -> bytes: ...
    @overload
    def request(
        self,
        topic: str | Topic,
        payload: Payload,
        *,
        timeout: int = 10000,
        on_response: Callable[[Packet | None], Ignored],
        qos: int = 0,
        properties: bytes = b"",
    ) -> bool: ...
    def respond(
        self,
        message: Packet,
        payload: Payload,
        *,
        qos: int | None = None,
        topic: str | None = None,
        properties: bytes = b"",
    ) -> bool: ...
    def responder(
        self,
        topic_filter: TopicFilters,
        function: Callable[[Packet], Payload | None],
        *,
        qos: int = 1,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        identifier: int | None = None,
        properties: bytes = b"",
    ) -> Subscription: ...
    def connect(self, wait: bool = True) -> bool: ...
    def reauthenticate(self, wait: bool = True) -> bool: ...
    def disconnect(self, reason: int = 0, properties: bytes = b"") -> None: ...
    def poll(self, timeout: int = 0) -> bool: ...
    def next_timeout(self) -> int: ...
    def poll_events(self) -> int:
        """Return the events to poll `stream` for: 1 to read, 4 to write, 5 for both, as in `select.poll`."""
