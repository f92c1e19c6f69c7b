from collections.abc import Callable, Coroutine
from ssl import SSLContext
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypeVar, overload

from ..core.client import Client as SyncClient
from ..core.packet import Packet
from ..core.session import Session
from ..core.subscriptions import Subscription
from ..core.topics import Topic
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
    Timeouts,
    TopicFilters,
    Transport,
    User,
    WhenFull,
)
from .messages import Ack, Message, MessageIterator

_Run: TypeAlias = Coroutine[Any, Any, object]
_AnyHandler: TypeAlias = Handler | Callable[[Message], _Run]
_AnyManualHandler: TypeAlias = ManualHandler | Callable[[Message, int], _Run]
_H = TypeVar("_H", bound=_AnyHandler)
_M = TypeVar("_M", bound=_AnyManualHandler)

class Client:
    sync_client: SyncClient
    """The `umqtt5.Client` that does the work. Call `wake()` after using it."""
    on_state: Callable[[Client, bool, LinkError | None], Ignored | _Run] | None
    """`on_state(client, connected, error)`: the connection was established or has ended."""
    on_ack: Callable[[Packet], Ignored] | Callable[[Ack], _Run] | None
    """`on_ack(answer)`: a message of QoS 1 or 2 was acknowledged, refused or dropped."""
    on_subscribed: Callable[[Subscription, Packet], Ignored] | Callable[[Subscription, Ack], _Run] | None
    """`on_subscribed(subscription, answer)`: the broker has answered SUBSCRIBE."""
    on_unsubscribed: Callable[[Subscription, Packet], Ignored] | Callable[[Subscription, Ack], _Run] | None
    """`on_unsubscribed(subscription, answer)`: the broker has answered UNSUBSCRIBE."""
    on_error: Callable[[Exception], Ignored | _Run] | None
    """`on_error(exception)`: a handler or a callback has raised this exception. None prints it."""
    auth: AuthMethod | None
    """Method of enhanced authentication, such as `umqtt5.scram.Scram`. Set it before `connect`."""
    follow_redirects: Redirects
    """True to follow a Server Reference of the broker, or a function of it that returns (host, port)."""
    max_reconnect_delay: int
    """Maximum number of ms between two tries to connect."""
    connection_count: int
    """Number of connections that the broker has accepted."""
    error: LinkError | None
    """The exception that has ended the last connection, None if the client has ended it."""
    has_permanent_error: bool
    """Whether retrying cannot fix `error`, for example a wrong password."""
    host: str
    """Name or address of the broker that the next connection uses."""
    port: int
    """Port of the broker."""
    packet: Packet
    """The packet that was received last: in `on_state` the CONNACK or the broker's DISCONNECT."""
    session: Session
    deferred_acks: Any
    coroutines: Any
    iterators: list[MessageIterator]
    """The open iterators."""

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
    def is_connected(self) -> bool:
        """True between CONNACK and the end of the connection."""
    def topic(self, name: str) -> Topic:
        """Return a handle for a topic name. With a handle `publish` encodes no topic. Raises ValueError."""
    def will(
        self,
        topic: str,
        payload: Payload,
        qos: int = 0,
        retain: bool = False,
        delay: int = 0,
        properties: bytes = b"",
    ) -> None:
        """Set the message that the broker publishes if this client disappears; see `umqtt5.Client.will`."""
    async def __aenter__(self) -> Client: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
        /,
    ) -> None: ...
    async def connect(self, wait: bool = True, timeout: int | None = None) -> bool:
        """Connect, and reconnect from now on whenever the connection is lost.

        Returns True if the broker has resumed the session. With `wait=False` it returns False at once and
        connects in the background. Raises OSError or MQTTError if the first try fails, OSError(ETIMEDOUT)
        after `timeout` ms.
        """
    async def disconnect(self, reason: int = 0, properties: bytes = b"", timeout: int | None = None) -> None:
        """Send DISCONNECT and close the connection; see `umqtt5.Client.disconnect`.

        If the DISCONNECT is not written after `timeout` ms, the connection is closed without it. None means
        the `timeout` of the client.
        """
    def reauthenticate(self) -> bool: ...
    def wake(self) -> None: ...
    @overload
    async def publish(
        self,
        topic: str | Topic,
        payload: Payload,
        qos: Literal[0] = 0,
        retain: bool = False,
        properties: bytes = b"",
        timeout: int | None = None,
    ) -> None: ...
    @overload
    async def publish(
        self,
        topic: str | Topic,
        payload: Payload,
        qos: Literal[1, 2],
        retain: bool = False,
        properties: bytes = b"",
        timeout: int | None = None,
    ) -> Ack: ...
    @overload
    async def publish(
        self,
        topic: str | Topic,
        payload: Payload,
        qos: int,
        retain: bool = False,
        properties: bytes = b"",
        timeout: int | None = None,
    ) -> Ack | None: ...
    def messages(
        self,
        topic_filter: TopicFilters,
        qos: int = 0,
        queue_size: int = 8,
        overflow: Literal["oldest", "newest", "wait"] = "oldest",
        timeout: int | None = None,
        *,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        identifier: int | None = None,
        properties: bytes = b"",
    ) -> MessageIterator: ...
    @overload
    async def subscribe(
        self,
        topic_filter: TopicFilters,
        handler: _AnyHandler | None,
        qos: int = 0,
        timeout: int | None = None,
        *,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        ack: None = None,
        identifier: int | None = None,
        properties: bytes = b"",
    ) -> Ack: ...
    @overload
    async def subscribe(
        self,
        topic_filter: TopicFilters,
        handler: _AnyManualHandler,
        qos: int = 0,
        timeout: int | None = None,
        *,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        ack: Literal["manual"],
        identifier: int | None = None,
        properties: bytes = b"",
    ) -> Ack: ...
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
    ) -> Callable[[_H], _H]: ...
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
    ) -> Callable[[_M], _M]: ...
    async def unsubscribe(self, topic_filter: TopicFilters, timeout: int | None = None) -> Ack | None: ...
    async def request(
        self,
        topic: str | Topic,
        payload: Payload,
        timeout: int = 10000,
        qos: int = 0,
        properties: bytes = b"",
    ) -> bytes: ...
    def respond(
        self,
        message: Packet | Message,
        payload: Payload,
        *,
        qos: int | None = None,
        topic: str | None = None,
        properties: bytes = b"",
    ) -> bool: ...
    async def responder(
        self,
        topic_filter: TopicFilters,
        function: Callable[[Packet], Payload | None]
        | Callable[[Message], Coroutine[Any, Any, Payload | None]],
        qos: int = 1,
        timeout: int | None = None,
        *,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        identifier: int | None = None,
        properties: bytes = b"",
    ) -> Ack: ...
