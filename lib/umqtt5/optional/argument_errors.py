"""Errors for wrong arguments: which argument, its value, and what to pass instead.

The client loads this module when an argument looks wrong. Functions called `..._error` return the exception,
functions called `check_...` raise it.
"""

from ..core.wire import BYTES as _BYTES
from ..core.wire import check_int

_SIZES = ("rx", "tx", "outbox", "inflight", "aliases", "topic_alias_maximum", "keep_alive", "session_expiry")
# smallest and largest value of each argument in `_SIZES`
_LIMITS = (
    (64, 0x0FFFFFFF),
    (64, 0x0FFFFFFF),
    (0, 0x0FFFFFFF),
    (1, 32767),
    (0, 65535),
    (0, 65535),
    (0, 65535),
    (0, 0xFFFFFFFF),
)
_UNITS = {"keep_alive": " seconds", "session_expiry": " seconds", "delay": " seconds"}
_MAX_TIMEOUT = 0x1FFFFFFF  # ms, half of the range of the ticks


def _show(value):
    """Return a value for an error text, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def int_error(name, value, low, high):
    """Return the error for an argument that must be an int from `low` to `high`."""
    unit = " ms" if name.startswith("timeout") else _UNITS.get(name, "")
    text = "%s must be an int from %d to %d%s, not %s" % (name, low, high, unit, _show(value))
    if isinstance(value, int):
        return ValueError(text)
    if isinstance(value, (str, float)):
        try:
            number = int(value)
        except (ValueError, OverflowError):  # not a number; infinity or NaN
            number = low - 1
        if low <= number <= high:
            text += ": pass %s=%d" % (name, number)
    return TypeError(text)


def check_numbers(port, timeout, *sizes):
    """Check the numbers that `Client` got: `sizes` in the order of `_SIZES`. Raises TypeError, ValueError."""
    check_int("port", port, 65535, 1)
    check_int("timeout", timeout, _MAX_TIMEOUT, 1)
    for i in range(len(sizes)):
        low, high = _LIMITS[i]
        check_int(_SIZES[i], sizes[i], high, low)


def check_host(host):
    """Check a host name or address, and return it, an IPv6 address without brackets.

    Raises TypeError, ValueError.
    """
    if isinstance(host, _BYTES):
        raise TypeError("host must be a str, not %s: pass host.decode()" % _show(host))
    if not isinstance(host, str):
        raise TypeError('host must be a str such as "broker.local", or a list of them, not ' + _show(host))
    if not host.strip():
        raise ValueError("host must not be empty: pass the name or the address of the broker")
    if len(host.split()) > 1 or host.strip() != host:
        raise ValueError("host must not contain blanks: %s" % _show(host))
    if "://" in host:
        scheme, _, rest = host.partition("://")
        name, port = _split_port(rest.split("/")[0].split("@")[-1])
        text = "host must be a name or an address, not a URL: pass host=%s" % _show(name)
        if port:
            text += ", port=" + port
        if scheme in ("mqtts", "ssl", "tls", "wss"):
            text += ", ssl=umqtt5.tls.context(...)"
        if scheme in ("ws", "wss", "http", "https"):
            text += ", transport=, see umqtt5.websocket"
        raise ValueError(text)
    if "/" in host:
        raise ValueError("host must be a name or an address, without a path: %s" % _show(host))
    name, port = _split_port(host)
    if port is not None:
        if not port.isdigit():
            raise ValueError("host must be a name or an address: %s" % _show(host))
        raise ValueError("host must not contain the port: pass host=%s, port=%s" % (_show(name), port))
    return name


def _split_port(host):
    """Return name and port (str) of "name:port" or "[address]:port"; port is None if there is none."""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        if not bracket or not rest:
            return (name if bracket else host), (None if bracket else "")
        return name, rest[1:]
    if host.count(":") != 1:
        return host, None  # a name, or an IPv6 address
    name, _, port = host.partition(":")
    return name, port


def check_callable(name, value):
    """Raise TypeError unless `value` can be called."""
    if not callable(value):
        raise TypeError("%s must be a function, not %s" % (name, _show(value)))


def text_error(name, value):
    """Return the error for an argument that must be text: str, or bytes in UTF-8."""
    if isinstance(value, str) or isinstance(value, _BYTES):
        size = len(value.encode()) if isinstance(value, str) else len(value)
        if size > 65535:
            return ValueError("%s has %d bytes, the maximum is 65535" % (name, size))
        text = "%s must be UTF-8 without U+0000, not %s" % (name, _show(value))
        if not isinstance(value, str):
            text += ": pass %s=binascii.hexlify(...)" % name
        return ValueError(text)
    text = "%s must be a str, not %s" % (name, _show(value))
    if value is None:
        if name == "client_id":
            text += ': pass "" and the broker chooses one'
    elif isinstance(value, (int, float)):
        text += ": use str(%s)" % _show(value)
    return TypeError(text)


def topic_error(name):
    """Return the error for a topic name that `publish` and `will` must not use."""
    if not name:
        return ValueError("topic must not be empty")
    return ValueError("topic must not contain + or #, which are for topic filters: %s" % _show(name))


def filter_error(text):
    """Return the error for a topic filter that is not valid."""
    if not text:
        return ValueError("topic_filter must not be empty")
    return ValueError(
        "topic_filter is not valid: %s. + and # are whole levels, # is the last level; "
        "a shared subscription is $share/GROUP/FILTER" % _show(text)
    )


def payload_error(name, value):
    """Return the error for a payload or password that is neither str nor bytes."""
    text = "%s must be bytes or str, not %s" % (name, _show(value))
    if isinstance(value, (dict, list, tuple)):
        text += ": use json.dumps(%s)" % name
    elif value is None:
        if name == "payload":
            text += ': use b"" for an empty payload'
    else:
        text += ": use str(%s)" % (_show(value) if isinstance(value, (int, float)) else name)
    return TypeError(text)


def size_error(name, size, limit, needed):
    """Return the error for a packet of `size` bytes that does not fit in the buffer `name` of `Client`."""
    return ValueError("packet of %d bytes: %s is %d, pass %s=%d or more" % (size, name, limit, name, needed))
