"""TLS options that not every port has: pre-shared keys, certificate chains, ALPN. Loaded by `tls.context`.

Each is tried at run time, because no version number tells which options a firmware was built with.
"""

import sys
from binascii import b2a_base64, unhexlify


def make_psk_context(has_other_arguments, psk, psk_identity):
    """Return an SSLContext for a pre-shared key (RFC 4279). Raises ValueError."""
    if has_other_arguments:
        raise ValueError("pass psk and psk_identity, or ca, cert, key and verify, not both")
    if not psk or not psk_identity:
        raise ValueError("psk and psk_identity are needed together")
    if isinstance(psk, str):
        try:
            psk = unhexlify(psk)
        except ValueError:
            raise ValueError("psk must be bytes, or a str of hexadecimal digits")
    if isinstance(psk_identity, str):
        psk_identity = psk_identity.encode()
    if not isinstance(psk, (bytes, bytearray)) or not isinstance(psk_identity, (bytes, bytearray)):
        raise TypeError("psk and psk_identity must be bytes or str")
    try:
        return _make_psk_context(bytes(psk), bytes(psk_identity))
    except (ImportError, AttributeError):
        raise ValueError(
            "psk: the ssl module of this port has no pre-shared keys. Use a firmware that has them, such as "
            "MicroPython 1.29 on most ports, or CPython 3.13. Otherwise pass ca"
        )


def _make_psk_context(psk, psk_identity):
    # `ssl.SSLContext` of MicroPython would accept the attributes and ignore them
    from tls import PROTOCOL_TLS_CLIENT, SSLContext

    made = SSLContext(PROTOCOL_TLS_CLIENT)
    try:
        made.psk_identity = psk_identity  # type: ignore[attr-defined]
        made.psk_key = psk  # type: ignore[attr-defined]
    except OSError as error:
        raise ValueError("psk: not valid, perhaps longer than this port allows: " + str(error))
    return made


def set_alpn(context, alpn):
    """Offer these protocols to the broker (RFC 7301). Raises ValueError."""
    names = [alpn] if isinstance(alpn, str) else alpn
    if not isinstance(names, (list, tuple)) or not names:
        raise ValueError("alpn must be a protocol name or a list of names, such as 'x-amzn-mqtt-ca'")
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) < 256:
            raise ValueError("alpn: a protocol name must be a str of 1 to 255 characters")
    # the class `ssl.SSLContext` of MicroPython wraps that of the module `tls`
    for made in (context, getattr(context, "_context", None)):
        if hasattr(made, "set_alpn_protocols"):
            made.set_alpn_protocols(list(names))
            return
    raise ValueError(
        "alpn: the ssl module of this port has no ALPN. Use a port of the broker that needs none: "
        "AWS IoT has 8883"
    )


def load_chain(context, ders, key):
    """Load a client certificate followed by those of intermediate authorities. Raises ValueError.

    mbedTLS reads several certificates only in PEM format, which a firmware may be built without.
    """
    try:
        context.load_cert_chain(b"".join([_pem(der) for der in ders]), key)
    except ValueError:
        if _reads_pem(ders[0]):
            raise
        raise ValueError(
            "this firmware reads no PEM, so it can send only one certificate: pass the first of these %d. "
            "The broker must know the others" % len(ders)
        )


def _pem(der):
    lines = b"".join([b2a_base64(der[i : i + 48]) for i in range(0, len(der), 48)])
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"-----END CERTIFICATE-----\n"


def _reads_pem(der):
    """Return True if a context reads this certificate as PEM. Raises ValueError if it is not valid."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=der)
    try:
        context.load_verify_locations(cadata=_pem(der))
    except ValueError:
        return False
    return True


if sys.implementation.name == "cpython":
    from ..cpython.tls import make_psk_context as _make_psk_context  # noqa: F811
