"""Opening handshake of a WebSocket (RFC 6455, section 4): the HTTP Upgrade request and its response."""

from binascii import b2a_base64
from errno import ECONNABORTED, ECONNRESET

from micropython import const

from ..optional.permanent_error import PermanentError

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_RESPONSE = const(4096)  # bytes, maximum for status line and headers


def _random(n):
    from os import urandom

    return urandom(n)


def _accept(key):
    """Return the Sec-WebSocket-Accept that answers this Sec-WebSocket-Key."""
    from hashlib import sha1

    return b2a_base64(sha1(key + _GUID).digest()).strip()


def begin_handshake(websocket, host, port):
    """Prepare the handshake of a new connection."""
    key = b2a_base64(_random(16)).strip()
    websocket._accept = _accept(key)
    websocket._request = (
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
        "Sec-WebSocket-Key: %s\r\n%s\r\n"
        % (
            websocket._path,
            "[%s]" % host if ":" in host else host,
            port,
            key.decode(),
            websocket._headers,
        )
    ).encode()
    websocket._request_at = 0  # number of bytes of the request that are written
    websocket._response = None  # headers by name in lower case; None before the status line
    websocket._response_size = 0  # bytes received
    websocket._line_size = 0  # bytes of the line that is being received, in `_frame`


def advance_handshake(websocket, stream):
    """Write to and read from the stream below, as much as is possible without waiting.

    Returns 0 if the handshake is complete, otherwise the event to wait for: 1 to read, 4 to write. Raises
    OSError if the server refuses the WebSocket or closes the connection. For a status 4xx other than 408 and
    429 the error is a PermanentError.
    """
    request = websocket._request
    while websocket._request_at < len(request):
        n = stream.write(request, websocket._request_at, len(request) - websocket._request_at)
        if not n:
            return 4
        websocket._request_at += n
    byte = websocket._pair
    n = stream.readinto(byte, 1)  # one byte at a time: the bytes after the response are WebSocket frames
    while n:
        if _take(websocket, byte[0]):
            websocket._request = websocket._response = None
            return 0
        n = stream.readinto(byte, 1)
    if n == 0:
        raise OSError(ECONNRESET, "WebSocket: closed during the handshake")
    return 1


def _take(websocket, byte):
    """Handle one byte of the response; return True if it was the last one."""
    websocket._response_size += 1
    if websocket._response_size > _MAX_RESPONSE:
        raise OSError(ECONNABORTED, "WebSocket: the response exceeds %d bytes" % _MAX_RESPONSE)
    if byte != 10:
        # the rest of a line that is longer than the buffer is dropped
        if websocket._line_size < len(websocket._frame):
            websocket._frame[websocket._line_size] = byte
            websocket._line_size += 1
        return False
    line = bytes(websocket._frame[: websocket._line_size]).strip()
    websocket._line_size = 0
    response = websocket._response
    if response is None:
        _check_status(line)
        websocket._response = {}
    elif not line:
        _check_headers(websocket, response)
        return True
    elif b":" in line:
        name, value = line.split(b":", 1)
        response[name.lower()] = value.strip()
    return False


def _check_headers(websocket, response):
    """Raise OSError if a header of the response is wrong (RFC 6455, section 4.1)."""
    if response.get(b"upgrade", b"").lower() != b"websocket":
        wrong = "Upgrade"
    elif b"upgrade" not in response.get(b"connection", b"").lower():
        wrong = "Connection"
    elif response.get(b"sec-websocket-accept") != websocket._accept:
        wrong = "Sec-WebSocket-Accept"
    elif response.get(b"sec-websocket-protocol") != b"mqtt":  # [MQTT-6.0.0-4]
        wrong = "Sec-WebSocket-Protocol, mqtt"
    elif b"sec-websocket-extensions" in response:
        wrong = "Sec-WebSocket-Extensions"
    else:
        return
    raise OSError(ECONNABORTED, "WebSocket: wrong response header: " + wrong)


def _check_status(line):
    """Raise OSError or PermanentError if the status line is not 101 Switching Protocols."""
    words = line.split(b" ")
    if not words[0].startswith(b"HTTP/1.") or len(words) < 2:
        raise OSError(ECONNABORTED, "WebSocket: not HTTP: %s" % repr(line[:32]))
    if words[1] != b"101":
        kind = OSError
        if words[1][:1] == b"4" and words[1] not in (b"408", b"429"):
            kind = PermanentError
        raise kind(ECONNABORTED, "WebSocket: " + repr(line)[2:-1])
