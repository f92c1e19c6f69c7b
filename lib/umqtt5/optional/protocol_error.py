"""Errors in what the other end sends: names the packet, recognizes other protocols and MQTT 3.1.1 brokers.

The session loads this module when such an error ends the connection.
"""

from ..core.errors import MQTTError
from ..core.states import CLOSING, CONNECTED, CONNECTING
from ..core.wire import is_valid_utf8

_NAMES = (
    "packet type 0|CONNECT|CONNACK|PUBLISH|PUBACK|PUBREC|PUBREL|PUBCOMP|SUBSCRIBE|SUBACK|UNSUBSCRIBE|"
    "UNSUBACK|PINGREQ|PINGRESP|DISCONNECT|AUTH"
)
_FOR_SERVERS = 0x1502  # a bit for each packet type that only a client sends

# reason codes of MQTT 5.0 for the return codes of MQTT 3.1.1 (3.2.2.3 there): a return code of 0 or 1 means
# that the broker does not know MQTT 5
_RETURN_CODES = b"\x84\x84\x85\x88\x86\x87"

_WEB = "Is it a web server, a port for WebSocket (pass transport=), or a login page of the Wi-Fi?"
_TLS = "Pass ssl=, see umqtt5.tls.context, or the port without TLS."
_WRONG_PORT = "Is the port right? MQTT has 1883, with TLS 8883."
# first bytes of other protocols, their names, and what to do
_OTHER_PROTOCOLS = (
    (b"HTTP/", "HTTP", _WEB),
    (b"<", "HTML", _WEB),
    (b"\x15\x03", "TLS", _TLS),
    (b"\x16\x03", "TLS", _TLS),
    (b"SSH-", "SSH", ""),
    (b"220", "SMTP or FTP", ""),
    (b"* OK", "IMAP", ""),
    (b"+OK", "POP3", ""),
    (b"-ERR", "Redis", ""),
    (b"AMQP", "AMQP", ""),
)
_ENOUGH = 8  # bytes from which another protocol can be told


def end_session(session, reason):
    """Set `session.error` to the error of the packet that its framer has examined last.

    `reason` is our reason code. If more bytes of the packet are needed, `session.error` is None. Otherwise
    the caller closes the session. If the broker ends the connection, the session already is in the state
    CLOSING, so nothing more is written.
    """
    session.error = error = _explain(session, reason)
    if error and error.from_broker:
        session.connection_lost()
        session.state = CLOSING


def _explain(session, reason):
    """Return the MQTTError, or None if more bytes are needed."""
    framer = session.framer
    if session.state == CONNECTING and framer.rx[0] not in b"\x20\xf0":
        # a packet that is complete was consumed; otherwise wait for enough bytes to recognize the protocol
        if not framer._at and framer._have < _ENOUGH and reason != 0x81:
            return None
        return _explain_other_protocol(framer, 0x81 if framer.rx[0] >> 4 in (2, 15) else reason)
    kind = framer.first_byte >> 4
    size = framer.end - framer._at  # of a packet that is not consumed
    if reason == 0x95 and size > len(framer.rx):
        if kind == 14 or (kind == 2 and session.state == CONNECTING):
            return _explain_large_refusal(session, kind, size)
        return _too_large(framer, kind, size)
    if kind == 2 and session.state == CONNECTING and framer.end - framer.at == 2 and framer.rx[framer.at] < 2:
        code = framer.rx[framer.at + 1]
        if code < len(_RETURN_CODES):
            return _refusal(_RETURN_CODES[code], "the broker has answered in MQTT 3.1.1 or older", True)
        if code >= 0x80:
            return _refusal(code, "", True)
    return MQTTError(reason, _describe_packet(session, kind))


def _explain_other_protocol(framer, reason):
    """Return the error for an answer that does not begin with CONNACK or AUTH."""
    start = bytes(memoryview(framer.rx)[: min(framer._have, 48)])
    for prefix, name, advice in _OTHER_PROTOCOLS:
        if start.startswith(prefix):
            if name != "TLS":
                name += " (%s)" % repr(start.split(b"\r")[0].split(b"\n")[0])[1:]
            return MQTTError(reason, "the other end speaks %s, not MQTT. %s" % (name, advice or _WRONG_PORT))
    kind = framer.first_byte >> 4
    if framer._at and kind:
        text = "%s with reserved flags" if kind in (2, 15) else "%s instead of CONNACK"
        return MQTTError(reason, text % _NAMES.split("|")[kind])
    return MQTTError(reason, "the other end does not speak MQTT, its answer begins with %s" % repr(start)[1:])


def _explain_large_refusal(session, kind, size):
    """Return the error for a CONNACK or DISCONNECT larger than `rx`: its reason code comes first."""
    framer = session.framer
    at = framer.at + (kind == 2)
    if framer._have <= at:
        return None
    code = framer.rx[at]
    if framer.first_byte & 15 or (code < 0x80 and (code or kind == 2)):
        return _too_large(framer, kind, size)
    detail = _reason_string(framer.rx, at + 1, framer._have)
    if detail:
        detail += "... "
    detail += "(%s of %d bytes, larger than rx=%d)" % (_NAMES.split("|")[kind], size, len(framer.rx))
    return _refusal(code, detail, kind == 2)


def _reason_string(rx, at, end):
    """Return the available part of a Reason String that is the first property, "" if it is another one."""
    while at < end and rx[at] > 0x7F:  # the property length
        at += 1
    at += 1
    if at + 3 >= end or rx[at] != 0x1F:
        return ""
    end = min(end, at + 3 + (rx[at + 1] << 8 | rx[at + 2]))
    at += 3
    for cut in range(min(4, end - at)):  # the last character may be incomplete
        if is_valid_utf8(rx, at, end - cut):
            return str(bytes(memoryview(rx)[at : end - cut]), "utf-8")
    return ""


def _refusal(code, detail, is_refusal):
    error = MQTTError(code, detail)
    error.from_broker = True
    error.is_refusal = is_refusal
    return error


def _too_large(framer, kind, size):
    return MQTTError(
        0x95,
        "%s of %d bytes from the broker: rx is %d, pass rx=%d or more. "
        "CONNECT told the broker this Maximum Packet Size"
        % (_NAMES.split("|")[kind], size, len(framer.rx), size),
    )


def _describe_packet(session, kind):
    """Return the name and size of the packet, and what is wrong if that is known."""
    framer = session.framer
    text = _NAMES.split("|")[kind]
    if not framer.end:
        return text + " with a malformed length"
    size = framer.end - framer.at
    text += " of %d bytes" % (size + (2 if size < 128 else 3 if size < 16384 else 4))
    if _FOR_SERVERS >> kind & 1:
        return text + ", which only a client sends"
    if kind == 2 and session.state == CONNECTED:
        return text + ", the second one"
    if kind == 2 and framer.end - framer.at > 1 and framer.rx[framer.at + 1] >= 0x80:
        return text + " with reason code 0x%02X" % framer.rx[framer.at + 1]
    return text
