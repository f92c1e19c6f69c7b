from collections.abc import Callable
from ssl import SSLContext
from typing import Any

from ..typing import Brokers, Buffer, Ignored

class MQTTException(Exception):
    reason: int
    """The MQTT 5.0 reason code (section 2.4)."""

    def __init__(self, code: int, reason: int | None = None) -> None: ...

class MQTTClient:
    umqtt5_options: dict[str, Any]
    """Keyword arguments for the `umqtt5.Client` below."""
    umqtt5_link: Any
    client_id: str | Buffer
    server: Brokers | bytes
    port: int
    ssl: SSLContext | bool | None
    ssl_params: dict[str, Any]
    pid: int
    """Number of packets that had a packet identifier."""
    cb: Callable[[bytes, bytes], Ignored] | None
    """The function that `set_callback` sets."""
    user: str | bytes | None
    pswd: str | bytes | None
    keepalive: int
    """Seconds; 0 switches pings off."""
    lw_topic: str | bytes | None
    lw_msg: str | Buffer | None
    lw_qos: int
    lw_retain: bool

    def __init__(
        self,
        client_id: str | Buffer,
        server: Brokers | bytes,
        port: int = 0,
        user: str | bytes | None = None,
        password: str | bytes | None = None,
        keepalive: int = 0,
        ssl: SSLContext | bool | None = None,
        ssl_params: dict[str, Any] = {},
    ) -> None: ...
    @property
    def sock(self) -> Any: ...
    @sock.setter
    def sock(self, value: None) -> None: ...
    def set_callback(self, f: Callable[[bytes, bytes], Ignored]) -> None: ...
    def set_last_will(
        self, topic: str | bytes, msg: str | Buffer, retain: bool = False, qos: int = 0
    ) -> None: ...
    def connect(self, clean_session: bool = True, timeout: float | None = None) -> int: ...
    def disconnect(self) -> None: ...
    def ping(self) -> None: ...
    def publish(self, topic: str | bytes, msg: str | Buffer, retain: bool = False, qos: int = 0) -> None: ...
    def subscribe(self, topic: str | bytes, qos: int = 0) -> None: ...
    def unsubscribe(self, topic: str | bytes) -> None: ...
    def wait_msg(self) -> int | None: ...
    def check_msg(self) -> int | None: ...
