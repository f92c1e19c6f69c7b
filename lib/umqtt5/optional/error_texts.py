"""Texts of errors: words, the address of the broker, whether a retry can help, and what to do.

The errors in `core.errors` load this module when they are printed.
"""

from errno import errorcode

# names of error numbers that `errorcode` of some ports does not contain: Linux, then ESP32, whose numbers are
# those of newlib
_NAMES = {
    32: "EPIPE",
    100: "ENETUNREACH",
    101: "ENETUNREACH",
    104: "ECONNRESET",
    103: "ECONNABORTED",
    107: "ENOTCONN",
    110: "ETIMEDOUT",
    111: "ECONNREFUSED",
    112: "EHOSTUNREACH",
    113: "EHOSTUNREACH",
    114: "ENETUNREACH",
    115: "ENETUNREACH",
    116: "ETIMEDOUT",
    117: "EHOSTUNREACH",
    118: "EHOSTUNREACH",
    128: "ENOTCONN",
}
_WORDS = {
    "EPIPE": "the connection is closed",
    "ECONNRESET": "the other end has reset the connection",
    "ECONNABORTED": "the connection was aborted",
    "ENOTCONN": "there is no connection",
    "ETIMEDOUT": "no answer",
    "ECONNREFUSED": "connection refused",
    "EHOSTUNREACH": "the host cannot be reached",
    "ENETUNREACH": "the network cannot be reached",
    "ENOMEM": "no memory",
    "ENOBUFS": "no memory for network buffers",
    "ENOENT": "no such file",
    "EACCES": "access denied",
    "EPERM": "not permitted",
    "EIO": "input/output error",
    "EBADF": "the socket is closed",
    "EINVAL": "invalid argument",
    "EISDIR": "the path is a directory",
    "ENODEV": "no such device",
}
_CLOSED = ("EPIPE", "ECONNRESET", "ECONNABORTED", "ENOTCONN")

# what to do, by the name of the error while a connection is being opened
_ADVICE = {
    "ECONNREFUSED": "Is the broker running, and is the port right?",
    "ETIMEDOUT": "Is the address right, and is the device in the network?",
    "EHOSTUNREACH": "Is the address right, and is the device in the network?",
    "ENETUNREACH": "Is the device in the network (Wi-Fi)?",
    "ENOMEM": "Connect before other modules fill the heap, or use smaller buffers.",
}
_LOOKUP_ADVICE = "Is the name right, and is the device in the network (Wi-Fi)? An IP address needs no lookup."
_NO_CONNACK_ADVICE = (
    "Is it the port of an MQTT broker, and does the broker speak MQTT 5, not only 3.1.1? "
    "A port for TLS (8883) needs ssl=, another port must not have it."
)

# what to do, by the reason code of a CONNACK
_REFUSAL_ADVICE = {
    0x81: "The broker could not read CONNECT: is it a broker for MQTT 5?",
    0x82: "The broker could not read CONNECT: is it a broker for MQTT 5?",
    0x84: "This broker does not speak MQTT 5: update it, or enable MQTT 5.",
    0x85: "Choose another client_id.",
    0x86: "Check user and password.",
    0x87: "Check user and password, and the access rules of the broker.",
    0x8A: "Ask the operator of the broker.",
    0x8C: "Check auth.",
    0x90: "Check the topic of the will.",
    0x95: "CONNECT is too large: use shorter texts, properties or a smaller will.",
    0x97: "Ask the operator of the broker.",
    0x99: "Check the payload of the will.",
    0x9A: "Use a will without retain.",
    0x9B: "Use a will with a lower QoS.",
    0x9C: "Connect to that server, or set follow_redirects.",
    0x9D: "Connect to that server, or set follow_redirects.",
}


def error_text(error, has_name):
    """Return the text of an MQTTError or a LinkError, with the name of its class if `has_name` is true."""
    if hasattr(error, "code"):
        return ("MQTTError: " if has_name else "") + _mqtt_error_text(error)
    text = os_error_text(error, error.host, error.port, error.phase)
    if isinstance(error.errno, int):
        text = "[Errno %d] %s" % (error.errno, text)
    return "OSError: " + text if has_name else text


def _mqtt_error_text(error):
    from ..reason_codes import reason_name

    text = reason_name(error.code)
    if error.detail:
        text += ": " + _printable(error.detail)
    if error.server_reference:
        text += "; server reference: " + _printable(error.server_reference)
    if error.host is None:  # the error of a call, such as `publish`
        return text
    advice = _REFUSAL_ADVICE.get(error.code) if error.is_refusal else None
    return _address(error.host, error.port) + _finish(text, error.is_permanent, advice)


def os_error_text(error, host, port, phase):
    """Return the text of a network error: the address, words, and what to do. `phase` as in LinkError."""
    number = error.args[0] if error.args else None
    words = error.args[1] if len(error.args) > 1 else ""
    if not isinstance(words, str):
        words = ""
    name = ""
    if isinstance(number, int):
        name = errorcode.get(number) or _NAMES.get(number) or ""
    advice = ""
    if phase == 0 and _is_lookup_error(error, number):
        words = "the name cannot be resolved"
        if isinstance(number, str):
            words += " " + number
        advice = _LOOKUP_ADVICE
    elif isinstance(host, str) and words.startswith(host + ": "):  # an error of `dns`
        words = words[len(host) + 2 :]
        advice = _LOOKUP_ADVICE
    elif ":" not in words:  # otherwise it is an error of TLS or WebSocket, whose words say what to do
        words, advice = _add_advice(words, name, phase)
    if not words:
        words = _WORDS.get(name) or name or (number if isinstance(number, str) else "error")
    return _address(host, port) + _finish(_printable(words), getattr(error, "is_permanent", False), advice)


def _add_advice(words, name, phase):
    """Return the words and what to do for a network error with this name."""
    if phase == 2 and name in _CLOSED:
        return "the other end has closed the connection before CONNACK", _NO_CONNACK_ADVICE
    if phase == 2 and name == "ETIMEDOUT" and words:
        return words, _NO_CONNACK_ADVICE
    return words, _ADVICE.get(name, "") if phase < 3 else ""


def _is_lookup_error(error, number):
    """Return True for an error of `getaddrinfo`; each port has its own kind."""
    if isinstance(number, str):
        return "addrinfo" in number
    # lwIP and the ESP32 raise negative numbers, and only here
    return type(error).__name__ == "gaierror" or (isinstance(number, int) and -300 < number < 0)


def _address(host, port):
    """Return "host:port: ", "" if there is no host: a serial line."""
    if not isinstance(host, str) or not host:
        return ""
    return ("[%s]:%s: " if ":" in host else "%s:%s: ") % (host, port)


def _finish(text, is_permanent, advice):
    if is_permanent:
        text += "; permanent: retrying cannot fix it"
    if advice:
        text += ". " + advice
    return text


def _printable(text):
    """Return a text without control characters, which could be commands to a terminal."""
    for c in text:
        if c < " " or "\x7f" <= c < "\xa0":
            return repr(text)[1:-1]
    return text
