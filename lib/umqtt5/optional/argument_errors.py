"""Errors for wrong arguments: which argument, its value, and what to pass instead.

The client loads this module when an argument looks wrong.
"""

import sys

_BYTES = (bytes, bytearray, memoryview)

_SIZES = ("port", "timeout", "rx", "tx", "outbox", "inflight", "aliases", "topic_alias_maximum", "keep_alive")
_MAX_SIZE = 0x0FFFFFFF
_MAX_TIMEOUT = 0x1FFFFFFF  # ms, half of the range of the ticks
# smallest and largest value of each argument in `_SIZES`
_LIMITS = (
    (1, 65535),
    (1, _MAX_TIMEOUT),
    (64, _MAX_SIZE),
    (64, _MAX_SIZE),
    (0, _MAX_SIZE),
    (1, 32767),
    (0, 65535),
    (0, 65535),
    (0, 65535),
)
_UNITS = {"keep_alive": " seconds", "session_expiry": " seconds", "delay": " seconds"}


def _show(value):
    """Return a value for an error text, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def make_error(kind, name, *args):
    """Return the error for the argument `name`; `kind` selects one of the functions below."""
    errors: dict = {
        "int": _int_error,
        "text": _text_error,
        "length": _length_error,
        "topic": _topic_error,
        "filter": _filter_error,
        "payload": _payload_error,
        "callable": _callable_error,
        "size": _size_error,
        "sizes": _sizes_error,
        "properties": _properties_error,
    }
    return errors[kind](name, *args)


def _int_error(name, value, high, low=0):
    """Return the error for an argument that must be an int from `low` to `high`."""
    unit = _UNITS.get(name, "")
    shown = _show(value)
    if name.startswith("timeout"):
        low = 1
        unit = " ms"
        if value == -1:  # the caller passes -1 for 0
            shown = "0"
    text = "%s must be an int from %d to %d%s, not %s" % (name, low, high, unit, shown)
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


def check_arguments(host, transport, sizes):
    """Check arguments of `Client`; returns the host. `sizes` is in the order of `_SIZES`.

    The host is checked only for TCP, that is without another transport. Raises TypeError, ValueError.
    """
    if transport is not None and not callable(transport):
        raise _callable_error("transport", transport)
    for i in range(len(sizes)):
        if not isinstance(sizes[i], dict):
            low, high = _LIMITS[i]
            if not isinstance(sizes[i], int) or not low <= sizes[i] <= high:
                raise _int_error(_SIZES[i], sizes[i], high, low)
    if transport is None and isinstance(host, str):
        host = check_host(host)
    # All of them are valid, only unusual: unload this module, which is not needed any more.
    if sys.modules.pop(__name__, None):
        del sys.modules["umqtt5.optional"].argument_errors
    return host


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


def _callable_error(name, value):
    """Return the error for a handler or a transport that cannot be called."""
    if callable(value):
        return TypeError("%s must be a plain function; only umqtt5.aio runs coroutine functions" % name)
    text = "a function (message), or None to ignore the messages"
    if name == "transport":
        text = "a function (host, port), such as umqtt5.tcp.connect"
    return TypeError("%s must be %s, not %s" % (name, text, _show(value)))


def _length_error(name, value):
    """Return the error for text or data that is too long for its length field of two bytes."""
    return ValueError("%s has %d bytes, the maximum is 65535" % (name, len(value)))


def _text_error(name, value):
    """Return the error for an argument that must be text: str, or bytes in UTF-8."""
    if isinstance(value, str) or isinstance(value, _BYTES):
        size = len(value.encode()) if isinstance(value, str) else len(value)
        if size > 65535:
            return _length_error(name, value.encode() if isinstance(value, str) else value)
        text = "%s must be UTF-8 without U+0000, not %s" % (name, _show(value))
        if not isinstance(value, str):
            text += ": pass %s=binascii.hexlify(...)" % name
        return ValueError(text)
    text = "%s must be a str, not %s" % (name, _show(value))
    if value is None:
        if name == "client_id":
            text += ': pass "" and the broker chooses one'
    elif isinstance(value, (bool, int, float)):
        text += ": use str(%s)" % _show(value)
    return TypeError(text)


def _topic_error(name, value):
    """Return the error for a topic name that `publish` and `will` must not use."""
    if not value:
        return ValueError("topic must not be empty")
    return ValueError("topic must not contain + or #, which are for topic filters: %s" % _show(value))


def _filter_error(name, value):
    """Return the error for a topic filter that is not valid."""
    if not value:
        return ValueError("topic_filter must not be empty")
    return ValueError(
        "topic_filter is not valid: %s. + and # are whole levels, # is the last level; "
        "a shared subscription is $share/GROUP/FILTER" % _show(value)
    )


def _payload_error(name, value):
    """Return the error for a payload or password that is neither str nor bytes."""
    text = "%s must be bytes or str, not %s" % (name, _show(value))
    if isinstance(value, (dict, list, tuple)):
        text += ": use json.dumps(%s)" % name
    elif value is None:
        if name == "payload":
            text += ': use b"" for an empty payload'
    else:
        text += ": use str(%s)" % (_show(value) if isinstance(value, (bool, int, float)) else name)
    return TypeError(text)


def _size_error(name, size, buffer, reserve):
    """Return the error for a packet of `size` bytes that never fits in the buffer `name` of `Client`."""
    text = "packet of %d bytes: %s is %d, pass %s=%d or more"
    return ValueError(text % (size, name, len(buffer), name, size + reserve))


def _sizes_error(name, rx, tx, inflight, keep_alive):
    """Return the error for the first of these arguments of `Client` that is out of range."""
    values = {"rx": rx, "tx": tx, "inflight": inflight, "keep_alive": keep_alive}
    for i in range(len(_SIZES)):
        name = _SIZES[i]
        low, high = _LIMITS[i]
        if name in values and not low <= values[name] <= high:
            return _int_error(name, values[name], high, low)


def _properties_error(name, value):
    """Return the error for properties that are not bytes."""
    return TypeError("properties must be bytes, see umqtt5.properties.pack, not %s" % _show(value))
