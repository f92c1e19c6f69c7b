"""Errors of the WebSocket transport: each says what the server has sent, and what to change."""

from errno import ECONNABORTED, ECONNRESET

from .permanent_error import PermanentError

# advice by the first digits of a status
_STATUS_ADVICE = (
    (b"400", "does the server expect TLS on this port?"),
    (b"401", "check the Authorization in headers="),
    (b"403", "check the credentials in headers="),
    (b"407", "check the Proxy-Authorization in headers="),
    (b"408", "the server was busy"),
    (b"426", "the server requires another version of HTTP or WebSocket"),
    (b"429", "connect less often"),
    (b"4", "check the path %s"),
    (b"5", "the server, or the broker behind it, is not available"),
    (b"3", "the server redirects to another address"),
    (b"", "a web server without WebSocket at %s: check port and path"),
)
# required headers of the response, by bit
_HEADERS = (
    "Upgrade: is this a WebSocket port?",
    "Connection: does a proxy remove it?",
    "Sec-WebSocket-Accept: does a proxy or a cache answer instead of the broker?",
    "Sec-WebSocket-Protocol, mqtt: is there an MQTT broker at this path?",
    "Sec-WebSocket-Extensions: disable extensions at the server",
)
_CLOSE_CODES = (
    "normal closure",
    "going away",
    "protocol error",
    "unsupported data",
    "",
    "",
    "",
    "invalid payload",
    "policy violation: check user, password and headers=",
    "message too big: send smaller messages",
    "extension required",
    "internal error",
    "service restart",
    "try again later",
    "bad gateway",
)


def _printable(data):
    """Return bytes of the server as text without control characters, at most 100 bytes of them."""
    return repr(bytes(data[:100]))[2:-1]


def refused(line, path, location):
    """Return the error for a status line; `location` is the target of a redirect."""
    status = line[9:12]
    is_permanent = status[:1] == b"4" and status not in (b"408", b"429")
    kind = PermanentError if is_permanent or status in (b"301", b"308") else OSError
    advice = [text for start, text in _STATUS_ADVICE if status.startswith(start)][0]
    if "%s" in advice:
        advice = advice % path
    if location:
        advice = "connect to " + _printable(location)
    return kind(ECONNABORTED, "WebSocket: %s: %s" % (_printable(line), advice))


def not_http(data):
    """Return the error for an answer that is not HTTP."""
    if data[:2] in (b"\x15\x03", b"\x16\x03"):
        text = "the server expects TLS: use websocket.wrap(tls.wrap(...))"
    elif data[:1] == b"\x20":
        text = "this is an MQTT port without WebSocket: remove websocket.wrap, or use another port"
    else:
        text = "not HTTP: '%s': is this the port of the broker's WebSocket?" % _printable(data[:32])
    return OSError(ECONNABORTED, "WebSocket: " + text)


def closed_in_handshake(status, data):
    """Return the error for a connection that was closed before the end of the response."""
    if not status and data and not data.startswith(b"HTTP"):
        return not_http(data)
    text = "WebSocket: closed during the handshake"
    if status:
        text += " after '%s'" % _printable(status)
    return OSError(ECONNRESET, text + ": is this the port of the broker's WebSocket?")


def too_long(lines, size):
    """Return the error for a response that is too long."""
    text = "WebSocket: the response exceeds %d lines or %d bytes: does a proxy add headers?" % (lines, size)
    return OSError(ECONNABORTED, text)


def wrong_header(valid):
    """Return the error for the first header whose bit is not in `valid`, the last one if all are."""
    i = 0
    while valid >> i & 1 and i < 4:
        i += 1
    return OSError(ECONNABORTED, "WebSocket: wrong response header: " + _HEADERS[i])


def wrong_frame(code, received):
    """Return the error for a frame that a server must not send."""
    if code == 1003:
        received += ": the server must send MQTT in binary frames"
    else:
        received += ": check the broker, or the proxy in front of it"
    return OSError(ECONNABORTED, "WebSocket: the broker has sent " + received)


def closed(code, reason):
    """Return the error for a Close frame with a status code (RFC 6455, section 7.4)."""
    text = "WebSocket: closed by the server: %d" % code
    name = _CLOSE_CODES[code - 1000] if 1000 <= code < 1000 + len(_CLOSE_CODES) else ""
    if name:
        text += " " + name
    if reason:
        text += " (%s)" % _printable(reason)
    return OSError(ECONNRESET, text)
