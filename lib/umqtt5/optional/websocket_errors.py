"""Errors of the WebSocket transport: each says what the server has sent, and what to change."""

from errno import ECONNABORTED, ECONNRESET

from .permanent_error import PermanentError

# one string, because it takes less heap than a table: the start of a status, a space, the advice
_STATUS_ADVICE = (
    "400 does the server expect TLS on this port?|401 check the Authorization in headers=|"
    "403 check the credentials in headers=|407 check the Proxy-Authorization in headers=|"
    "408 the server was busy|426 the server requires another version of HTTP or WebSocket|"
    "429 connect less often|4 check the path |5 the server, or the broker behind it, is not available|"
    "3 the server redirects to another address| a web server without WebSocket: check port and path "
)
# required headers of the response, by bit
_HEADERS = (
    "Upgrade: is this a WebSocket port?|Connection: does a proxy remove it?|"
    "Sec-WebSocket-Accept: does a proxy or a cache answer instead of the broker?|"
    "Sec-WebSocket-Protocol, mqtt: is there an MQTT broker at this path?|"
    "Sec-WebSocket-Extensions: disable extensions at the server"
)
# status codes from 1000 on (RFC 6455, section 7.4)
_CLOSE_CODES = (
    " normal closure| going away| protocol error| unsupported data|||| invalid payload| policy violation: "
    "check user, password and headers=| message too big: send smaller messages| extension required| internal "
    "error| service restart| try again later| bad gateway"
)


def _error(kind, number, text):
    return kind(number, "WebSocket: " + text)


def _printable(data):
    """Return bytes of the server as text without control characters, at most 100 bytes of them."""
    return repr(bytes(data[:100]))[2:-1]


def _refused(line, path, location):
    """Return the error for a status line; `location` is the target of a redirect."""
    status = str(line[9:12], "utf-8")
    advice = [text for text in _STATUS_ADVICE.split("|") if status.startswith(text.split(" ")[0])][0]
    advice = advice.split(" ", 1)[1]
    if advice.endswith(" "):
        advice += path
    if location:
        advice = "connect to " + _printable(location)
    is_permanent = status[0] == "4" and status not in ("408", "429") or status in ("301", "308")
    kind = PermanentError if is_permanent else OSError
    return _error(kind, ECONNABORTED, "%s: %s" % (_printable(line), advice))


def _closed_in_handshake(status, data):
    """Return the error for a connection that was closed before the end of the response."""
    if not status and data and not data.startswith(b"HTTP"):
        return _not_http(data)
    text = "closed during the handshake"
    if status:
        text += " after '%s'" % _printable(status)
    return _error(OSError, ECONNRESET, text + ": is this the port of the broker's WebSocket?")


def _not_http(data):
    """Return the error for an answer that is not HTTP."""
    text = "not HTTP: '%s': is this the port of the broker's WebSocket?" % _printable(data[:32])
    if data[:2] in (b"\x15\x03", b"\x16\x03"):
        text = "the server expects TLS: use websocket.wrap(tls.wrap(...))"
    elif data[:1] == b"\x20":
        text = "this is an MQTT port without WebSocket: remove websocket.wrap, or use another port"
    return _error(OSError, ECONNABORTED, text)


def _wrong_header(valid):
    """Return the error for the first header whose bit is not in `valid`, the last one if all are."""
    i = 0
    while valid >> i & 1 and i < 4:
        i += 1
    return _error(OSError, ECONNABORTED, "wrong response header: " + _HEADERS.split("|")[i])


def _closed(code, reason):
    """Return the error for a Close frame with a status code."""
    names = _CLOSE_CODES.split("|")
    text = "closed by the server: %d" % code
    if 1000 <= code < 1000 + len(names):
        text += names[code - 1000]
    if reason:
        text += " (%s)" % _printable(reason)
    return _error(OSError, ECONNRESET, text)


def _wrong_frame(code, received):
    """Return the error for a frame that a server must not send."""
    text = "the broker has sent %s: check the broker, or the proxy in front of it" % received
    if code == 1003:
        text = "the broker has sent %s: the server must send MQTT in binary frames" % received
    return _error(OSError, ECONNABORTED, text)


def _too_long(lines, size):
    """Return the error for a response that is too long."""
    text = "the response exceeds %d lines or %d bytes: does a proxy add headers?" % (lines, size)
    return _error(OSError, ECONNABORTED, text)


def make_error(kind, details):
    """Return an OSError or PermanentError; `kind` is a number of `websocket.handshake`."""
    return (_refused, _closed_in_handshake, _not_http, _wrong_header, _closed, _wrong_frame, _too_long)[kind](
        *details
    )
