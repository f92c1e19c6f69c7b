"""Opening handshake of a WebSocket (RFC 6455, section 4): the HTTP Upgrade request and its response.

The response is handled line by line and not stored. Its size, the number of its lines and the part of a line
that is examined have limits, so a server can't make the client use more memory or read without end. The
client limits the time.
"""

from binascii import b2a_base64
from errno import ECONNABORTED

from micropython import const

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_RESPONSE = const(4096)  # bytes, maximum for all status lines and headers
_MAX_LINES = const(100)
_MAX_LINE = const(256)  # bytes; the rest of a longer line is ignored

# what the next line is: a status line, a header of status 101, of 1xx (ignored), or of 3xx (a redirect)
_STATUS = const(0)
_HEADER = const(1)
_INTERIM = const(2)
_REDIRECT = const(3)

# kinds of errors: positions in `websocket_errors.make_error`
REFUSED = const(0)
CLOSED_IN_HANDSHAKE = const(1)
NOT_HTTP = const(2)
WRONG_HEADER = const(3)
CLOSED = const(4)
WRONG_FRAME = const(5)
TOO_LONG = const(6)

# bits of the headers that are required (section 4.1)
_UPGRADE = const(1)
_CONNECTION = const(2)
_ACCEPT = const(4)
_PROTOCOL = const(8)
_REQUIRED = const(15)


def _random(n):
    from os import urandom

    return urandom(n)


def _accept(key):
    """Return the Sec-WebSocket-Accept that answers this Sec-WebSocket-Key."""
    from hashlib import sha1

    return b2a_base64(sha1(key + _GUID).digest()).strip()


def fail(kind, *details):
    """Raise OSError or PermanentError. The module with the texts is loaded on first use."""
    try:
        from ..optional.websocket_errors import make_error

        error = make_error(kind, details)
    except MemoryError:
        error = OSError(ECONNABORTED, "WebSocket")
    raise error


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
    websocket._response_size = websocket._lines = 0  # bytes and lines received
    websocket._line_size = 0  # bytes of the line that is being received, in `_frame`
    websocket._expected = _STATUS
    websocket._status = b""  # the last status line
    websocket._valid = 0  # bits of the required headers that were received


def advance_handshake(websocket, stream):
    """Write to and read from the stream below, as much as is possible without waiting.

    Returns 0 if the handshake is complete, otherwise the event to wait for: 1 to read, 4 to write. Raises
    OSError if the server refuses the WebSocket or closes the connection: see `optional.websocket_errors`.
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
            websocket._request = None
            return 0
        n = stream.readinto(byte, 1)
    if n == 0:
        if websocket._expected == _REDIRECT:
            _refuse(websocket)
        fail(CLOSED_IN_HANDSHAKE, websocket._status, websocket._frame[: websocket._line_size])
    return 1


def _take(websocket, byte):
    """Handle one byte of the response; return True if it was the last one."""
    websocket._response_size += 1
    if byte != 10 and websocket._response_size <= _MAX_RESPONSE:
        if websocket._line_size < min(len(websocket._frame), _MAX_LINE):
            websocket._frame[websocket._line_size] = byte
            websocket._line_size += 1
        return False
    websocket._lines += 1
    if websocket._lines > _MAX_LINES or websocket._response_size > _MAX_RESPONSE:
        fail(TOO_LONG, _MAX_LINES, _MAX_RESPONSE)
    line = bytes(websocket._frame[: websocket._line_size]).rstrip()
    websocket._line_size = 0
    if websocket._expected == _STATUS:
        _take_status(websocket, line)
    elif line:
        name, _, value = line.partition(b":")
        _take_header(websocket, name.lower(), value.strip())
    elif websocket._expected == _HEADER:
        if websocket._valid != _REQUIRED:
            fail(WRONG_HEADER, websocket._valid)
        return True
    elif websocket._expected == _REDIRECT:
        _refuse(websocket)
    else:
        websocket._expected = _STATUS  # the response that counts follows (RFC 9110, section 15.2)
    return False


def _take_status(websocket, line):
    """Handle a status line. Raises OSError or PermanentError if the server refuses."""
    websocket._status = line
    status = line[9:12]
    if not line.startswith(b"HTTP/1.") or line[8:9] != b" " or len(status) < 3 or not status.isdigit():
        fail(NOT_HTTP, line)
    if status == b"101":
        websocket._expected = _HEADER
    elif status[:1] == b"1":
        websocket._expected = _INTERIM
    elif status[:1] == b"3":
        websocket._expected = _REDIRECT  # the error has the new address
    else:
        _refuse(websocket)


def _take_header(websocket, name, value):
    """Handle a header. Raises OSError if it is wrong."""
    if websocket._expected == _REDIRECT:
        if name == b"location":
            _refuse(websocket, value)
    elif websocket._expected == _HEADER:
        if name == b"upgrade":
            _check(websocket, _UPGRADE, value.lower() == b"websocket")
        elif name == b"connection":
            if b"upgrade" in value.lower():  # there may be other ones
                websocket._valid |= _CONNECTION
        elif name == b"sec-websocket-accept":
            _check(websocket, _ACCEPT, value == websocket._accept)
        elif name == b"sec-websocket-protocol":
            _check(websocket, _PROTOCOL, value == b"mqtt")  # [MQTT-6.0.0-4]
        elif name == b"sec-websocket-extensions":
            _check(websocket, 0, False)


def _check(websocket, bit, is_valid):
    """Record a valid header. Raises OSError if it is not valid."""
    websocket._valid |= bit
    if not is_valid:
        fail(WRONG_HEADER, ~bit if bit else _REQUIRED)


def _refuse(websocket, location=b""):
    """Raise OSError or PermanentError for a status of 200 or more."""
    fail(REFUSED, websocket._status, websocket._path, location)
