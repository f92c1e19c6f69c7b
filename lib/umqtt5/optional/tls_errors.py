"""Errors of a TLS handshake: the words that say what happened and what to change, permanent errors.

Loaded when a handshake fails.
"""

from errno import ECONNABORTED, ECONNRESET, ENOTCONN
from time import gmtime

from micropython import const

from .permanent_error import PermanentError

_VERIFY_FAILED = const(-0x2700)  # error numbers of mbedTLS
_FATAL_ALERT = const(-0x7780)
# EPIPE, which has no constant in MicroPython, and end of file of mbedTLS. The numbers of the others differ
# between ports: on the ESP32 they are those of newlib.
_CLOSED = (32, ECONNABORTED, ECONNRESET, ENOTCONN, -0x7280)
# record, version, message or length is not that of TLS
_NOT_TLS = (-0x7200, -0x6E80, -0x7700, -0x7100)

_MAX_REFUSALS = const(3)  # from this number of refusals in a row on, the error is a PermanentError
_FIRST_YEAR = const(2024)  # an earlier date means that the clock is not set

CLOSED = (
    "TLS: the connection was closed during the handshake. Does this port speak TLS? "
    "Does the broker require a client certificate (cert and key)?"
)
NOT_TLS = "TLS: the answer is not TLS. Does this port speak TLS?"

# Alerts by which a broker refuses a client (RFC 8446, section 6.2). Corrupted data can cause other alerts.
# One str needs a third of the memory of a dict.
_ALERTS = """
40 handshake failure: does the broker require a client certificate (cert and key)?
42 bad certificate: pass another cert and its key
43 unsupported certificate: pass another cert and its key
44 certificate revoked: pass another cert and its key
45 certificate expired: renew cert
46 certificate unknown: pass another cert and its key
48 unknown CA: cert must be signed by an authority that the broker knows
49 access denied: pass another cert and its key
70 protocol version: no TLS version in common
71 insufficient security: no cipher in common
112 unrecognized name: pass the broker's name as host or server_hostname
115 unknown PSK identity: psk_identity must be in the psk_file of the broker
116 certificate required: pass a client certificate (cert and key)
120 no application protocol: the broker does not know alpn
"""
# with a pre-shared key, these are sent if the broker has another key: bad record MAC, decrypt error
_WRONG_KEY = (20, 51)


def raise_refusal(transport, number, words, is_refusal=True):
    """Raise OSError, or PermanentError after several refusals in a row."""
    if is_refusal:
        transport.refusals += 1
        if transport.refusals >= _MAX_REFUSALS:
            raise PermanentError(number, "TLS: " + words)
    raise OSError(number, "TLS: " + words)


def raise_certificate_error(transport, number, words, host):
    """Report that the broker's certificate is not valid. `words` are those of mbedTLS or OpenSSL."""
    date = gmtime()[:3]
    advice = ""
    is_refusal = True
    if "issuer" in words or "correctly signed" in words or "self-signed" in words:
        advice = ". Pass the certificate of the authority that signed it as ca"
    if "match" in words:
        advice += ". Connect to a name in the certificate, or pass it to tls.wrap. The name was " + host
    if "expired" in words:
        advice += ". Renew it, if the clock is right: it shows %d-%02d-%02d" % date
    if "future" in words or "not yet valid" in words:
        # retrying helps as soon as the clock is set, if nothing else is wrong
        is_refusal = date[0] >= _FIRST_YEAR or bool(advice)
        advice += ". Set the clock: it shows %d-%02d-%02d" % date
    raise_refusal(transport, number, "the broker's certificate: " + words + advice, is_refusal)


def raise_alert(transport, number, alert):
    """Report that the broker has ended the handshake with an alert; `alert` is None if not known."""
    uses_psk = getattr(transport.context, "psk_identity", None) is not None
    at = _ALERTS.find("\n%s " % alert)
    words = "the broker refuses the connection"
    if alert is None:
        words += " with an alert"
    elif at < 0:
        words += " (alert %d)" % alert
        if not uses_psk or alert not in _WRONG_KEY:
            raise_refusal(transport, number, words + ", perhaps after corrupted data", False)
    else:
        words += " (alert " + _ALERTS[at + 1 : _ALERTS.find("\n", at + 1)] + ")"
    if uses_psk:
        words += ". psk_identity and psk must be those in the psk_file of the broker"
    elif alert is None:
        words += (
            ". Does it require a client certificate (cert and key)? "
            "Or is cert expired, revoked, or signed by an authority that the broker does not know?"
        )
    raise_refusal(transport, number, words)


def find_alert(record):
    """Return the number of the alert in an unencrypted TLS record, None if there is none."""
    if len(record) == 7 and record[0] == 0x15 and record[1] == 3 and record[3] == 0 and record[4] == 2:
        return record[6]


def raise_error(stream, error):
    """Convert an error of MicroPython's `ssl` during the handshake on `stream`, and raise it."""
    transport = stream._transport
    if isinstance(error, ValueError):
        words = ". ".join(str(error).strip().split("\n"))
        raise_certificate_error(transport, _VERIFY_FAILED, words, stream._host)
    number = error.errno if isinstance(error, OSError) else 0
    if number == _VERIFY_FAILED:  # mbedTLS was built without words
        raise_certificate_error(transport, number, "it is not valid for " + stream._host, stream._host)
    if number == _FATAL_ALERT:
        raise_alert(transport, number, None)
    if number in _CLOSED:
        # mbedTLS fails at once if a write fails, although the alert that explains it may have arrived
        alert = find_alert(_read_record(stream._below))
        if alert is not None:
            raise_alert(transport, number, alert)
        raise OSError(number, CLOSED)
    if number in _NOT_TLS:
        raise OSError(number, NOT_TLS)
    raise error


def _read_record(below):
    """Return up to 7 bytes that have arrived on the stream below TLS, which is the size of an alert."""
    record = bytearray(7)
    try:
        n = (below.sock if hasattr(below, "sock") else below).readinto(record)
    except Exception:  # the socket may report the error again
        n = 0
    return record[: n or 0]
