from ssl import SSLContext
from typing import Any

from .typing import Buffer, Transport
from .typing import Stream as _Stream

def context(
    ca: str | Buffer | None = None,
    cert: str | Buffer | None = None,
    key: str | Buffer | None = None,
    verify: bool = True,
    psk: str | bytes | bytearray | None = None,
    psk_identity: str | bytes | bytearray | None = None,
    alpn: str | list[str] | tuple[str, ...] | None = None,
) -> SSLContext: ...
def wrap(transport: Transport, context: SSLContext, server_hostname: str | None = None) -> TLSTransport: ...
def check_context(context: SSLContext) -> None: ...

class TLSTransport:
    context: SSLContext
    refusals: int
    """Number of refused handshakes in a row."""

    def __init__(self, transport: Transport, context: SSLContext, server_hostname: str | None) -> None: ...
    def __call__(self, host: str, port: int) -> Stream: ...

class Stream:
    pollable: Any
    """The object to poll: the TLS socket."""

    def __init__(self, transport: TLSTransport, below: _Stream, host: str) -> None: ...
    def do_handshake(self) -> int: ...
    def readinto(self, buf: bytearray | memoryview, n: int) -> int | None: ...
    def write(self, buf: Buffer, at: int, n: int) -> int | None: ...
    def close(self) -> None: ...
