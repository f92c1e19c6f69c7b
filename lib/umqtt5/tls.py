"""TLS transport (section 5.4): `context()` creates an SSLContext, `wrap()` runs TLS over another transport.

`Client(ssl=)` loads this module.

    from umqtt5 import Client, tls

    client = Client("broker.local", ssl=tls.context(ca="ca.pem"))
"""

import sys
from binascii import a2b_base64

from micropython import const

from .core.errors import CatchErrors
from .optional.permanent_error import PermanentError

_VERIFY_FAILED = const(-0x2700)  # error numbers of mbedTLS
_FATAL_ALERT = const(-0x7780)

_MAX_REFUSALS = const(3)  # from this number of refusals in a row on, the error is a PermanentError


def context(ca=None, cert=None, key=None, verify=True):
    """Return an SSLContext for `Client(ssl=)`.

    `ca` contains the certificates of the authorities that may sign the broker's certificate. The host name in
    that certificate is checked as well. `cert` and `key` are a client certificate and its private key, for a
    broker that asks for them. Each of the three is a path (str) or the content of a file (bytes), in PEM or
    DER format. MicroPython sends a single certificate, without a chain. CPython accepts `cert` and `key` as
    PEM only.

    Without `ca`, `verify=False` is required: the connection is encrypted, but the other end is not
    authenticated. Raises ValueError, or OSError if a file can't be read.
    """
    _check_arguments(ca, cert, key, verify)
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify:
        for der in _ders(ca, b"CERTIFICATE"):
            made.load_verify_locations(cadata=der)
        made.verify_mode = ssl.CERT_REQUIRED  # type: ignore[attr-defined]
    else:
        made.verify_mode = ssl.CERT_NONE  # type: ignore[attr-defined]
    if cert:
        ders = _ders(cert, b"CERTIFICATE")
        if len(ders) > 1:
            raise ValueError("cert must be one certificate: MicroPython sends no chain")
        made.load_cert_chain(ders[0], _ders(key, b"PRIVATE KEY")[0])
    return made


def _check_arguments(ca, cert, key, verify):
    """Raise ValueError if the arguments of `context` contradict each other."""
    if ca is None and verify:
        raise ValueError("ca is missing; verify=False accepts any broker")
    if ca is not None and not verify:
        raise ValueError("pass ca or verify=False, not both")
    if (cert is None) != (key is None):
        raise ValueError("cert and key are needed together")


def _ders(data, label):
    """Return, in a list, the parts of PEM data that have this label, converted to DER.

    DER is the only format that all ports can read. `data` is a path (str) or the content (bytes). If it is
    already DER, it is returned unchanged.
    """
    if isinstance(data, str):
        with open(data, "rb") as file:
            data = file.read()
    if b"-----BEGIN " not in data:
        return [data]
    found = []
    for part in data.split(b"-----BEGIN ")[1:]:
        part = part.split(b"-----")
        if part[0] == b"ENCRYPTED PRIVATE KEY" or b"ENCRYPTED" in part[1]:
            raise ValueError("key must not be encrypted")
        if part[0].endswith(label):
            found.append(a2b_base64(part[1]))
    if not found:
        raise ValueError("no " + label.decode() + " in the PEM data")
    return found


def wrap(transport, context, server_hostname=None):
    """Return a transport that speaks TLS over another transport. `context` is an SSLContext.

    `server_hostname` is the name that the broker's certificate must contain; None means the `host` of
    `Client`. The handshake does not wait for the network: it continues whenever data arrives. Only the
    computation for each step blocks. On CPython the timeout `connect` limits the handshake. On MicroPython
    the timeout `connack` limits it, or `connect` if a WebSocket runs over TLS.

    If the certificate is not valid, or the broker refuses the client with an alert, the connection fails with
    OSError. From the third failure in a row on, it fails with PermanentError. The first two failures may be
    due to a transmission error or a clock that is not set yet. Raises TypeError if `context` is not an
    SSLContext.
    """
    if not hasattr(context, "wrap_socket"):
        raise TypeError("ssl must be an SSLContext, see umqtt5.tls.context")
    return TLSTransport(transport, context, server_hostname)


class TLSTransport:
    """The transport that `wrap` returns; `refusals` is the number of refused handshakes in a row."""

    def __init__(self, transport, context, server_hostname):
        self._transport = transport
        self.context = context
        self._server_hostname = server_hostname
        self.refusals = 0

    def __call__(self, host, port):
        """Begin a connection; returns the stream. Raises OSError."""
        below = self._transport(host, port)
        try:
            return Stream(self, below, self._server_hostname or host)
        except BaseException:
            below.close()
            raise

    def raise_refusal(self, number, words):
        """Raise OSError, or PermanentError after several refusals in a row."""
        self.refusals += 1
        raise (OSError if self.refusals < _MAX_REFUSALS else PermanentError)(number, words)


class Stream:
    """A stream over MicroPython's `ssl`; see `tcp` for its methods.

    The first reads and writes perform the handshake. No port of MicroPython reports the end of the handshake,
    so it counts as complete when the first byte is written.
    """

    def __init__(self, transport, below, host):
        self._transport = transport
        self._below = below
        if hasattr(below, "do_handshake"):
            self.do_handshake = below.do_handshake
        # poll the TLS socket, not the one below: TLS may have buffered bytes that the caller has not read yet
        self.pollable = transport.context.wrap_socket(
            below.sock if hasattr(below, "sock") else below,
            server_hostname=host,
            do_handshake_on_connect=False,
        )
        self._write = self.pollable.write
        self._unsent = 0
        self._catch_errors = CatchErrors(Exception, self._raise_error)

    def readinto(self, buf, n):
        """Read during the handshake; `write` replaces this method when the handshake is complete."""
        with self._catch_errors:
            n = self.pollable.readinto(buf, n)
        return n

    def write(self, buf, at, n):
        """Write during the handshake, which counts as complete when the stream accepts a byte."""
        with self._catch_errors:
            n = self._write_on(buf, at, n)
        if n:
            self._transport.refusals = 0
            self.readinto = self.pollable.readinto  # type: ignore[method-assign]
            self.write = self._write_on  # type: ignore[method-assign]
        return n

    def _write_on(self, buf, at, n):
        # if mbedTLS has encrypted bytes but could not send them, the next call must pass the same bytes and
        # no more: additional bytes would count as sent
        if self._unsent:
            n = self._unsent
        self._unsent = n
        n = self._write(buf, at, n)
        if n:
            self._unsent = 0
        return n

    def close(self):
        self.pollable.close()
        self._below.close()

    def _raise_error(self, error):
        """Convert an error of the handshake to one that the client understands, and raise it."""
        if isinstance(error, ValueError):
            self._transport.raise_refusal(_VERIFY_FAILED, str(error).strip())
        if isinstance(error, OSError) and error.errno == _FATAL_ALERT:
            self._transport.raise_refusal(_FATAL_ALERT, "TLS: the broker refuses the connection")
        raise error


if sys.implementation.name == "cpython":
    from .cpython.tls import Stream, make_context

    def context(ca=None, cert=None, key=None, verify=True):  # noqa: F811
        _check_arguments(ca, cert, key, verify)
        return make_context(ca, cert, key)
