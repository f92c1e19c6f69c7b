"""TLS transport (section 5.4): `context()` creates an SSLContext, `wrap()` runs TLS over another transport.

`Client(ssl=)` loads this module.

    from umqtt5 import Client, tls

    client = Client("broker.local", ssl=tls.context(ca="ca.pem"))
"""

import sys
from binascii import a2b_base64

from micropython import const

from .core.errors import CatchErrors

_CERT_NONE = const(0)  # values of `verify_mode`
_CERT_OPTIONAL = const(1)

_unverified_id = None  # id of the last context that `context` made with verify=False


def context(ca=None, cert=None, key=None, verify=True, psk=None, psk_identity=None, alpn=None):
    """Return an SSLContext for `Client(ssl=)`.

    `ca` contains the certificates of the authorities that may sign the broker's certificate. The host name in
    that certificate is checked as well. `cert` and `key` are a client certificate and its private key, for a
    broker that asks for them. `cert` may be followed by the certificates of intermediate authorities. Each of
    the three is a path, or the content of a file in PEM (str or bytes) or DER format (bytes).

    Without `ca`, `verify=False` is required: the connection is encrypted, but the other end is not
    authenticated.

    `psk` is a pre-shared key and `psk_identity` its name at the broker, for a broker with a `psk_file`. They
    replace all other arguments except `alpn`. The key is bytes, or a str of hexadecimal digits. `alpn` is a
    protocol name or a list of them (Application-Layer Protocol Negotiation).

    Raises ValueError if the arguments contradict each other or the `ssl` module of this port lacks a
    feature, OSError if a file can't be read.
    """
    global _unverified_id
    if psk is not None or psk_identity is not None:
        from .optional.tls_options import make_psk_context

        made = make_psk_context(ca or cert or key or not verify, psk, psk_identity)
    else:
        _check_arguments(ca, cert, key, verify)
        made = _make_context(ca, cert, key)
        if not verify:
            _unverified_id = id(made)
    if alpn is not None:
        from .optional.tls_options import set_alpn

        set_alpn(made, alpn)
    return made


def _make_context(ca, cert, key):
    """Return an SSLContext with these certificates; without `ca` it accepts any broker."""
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_mode = ssl.CERT_NONE if ca is None else ssl.CERT_REQUIRED  # type: ignore[attr-defined]
    name = "ca: "
    try:
        if ca is not None:
            for der in _ders(ca, b"CERTIFICATE"):
                made.load_verify_locations(cadata=der)
        if cert is not None:
            name = "cert or key: "
            ders = _ders(cert, b"CERTIFICATE")
            key = _ders(key, b"PRIVATE KEY")[0]
            if len(ders) > 1:
                from .optional.tls_options import load_chain

                load_chain(made, ders, key)
            else:
                made.load_cert_chain(ders[0], key)
    except ValueError as error:  # of mbedTLS: "invalid cert"
        raise ValueError(name + str(error))
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

    DER is the only format that all ports can read. `data` is a path (str) or the content (bytes, or str for
    PEM). If it is already DER, it is returned unchanged.
    """
    if isinstance(data, str):
        if "-----BEGIN " in data:
            data = data.encode()
        else:
            try:
                with open(data, "rb") as file:
                    data = file.read()
            except OSError as error:
                raise OSError(error.errno, "cannot read " + data)
    elif not isinstance(data, (bytes, bytearray)):
        raise TypeError("ca, cert and key must be paths (str) or contents of files (bytes)")
    data = bytes(data)
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
    due to a transmission error or a clock that is not set yet. Raises TypeError or ValueError if `context` is
    not an SSLContext that can be used, or `server_hostname` is not a str.
    """
    check_context(context)
    if server_hostname is not None and not (isinstance(server_hostname, str) and server_hostname):
        raise TypeError("server_hostname must be a str with at least one character")
    return TLSTransport(transport, context, server_hostname)


def check_context(context):
    """Raise TypeError or ValueError if this is not an SSLContext that can be used.

    Prints a warning if it does not verify the broker's certificate, unless `tls.context` has made it.
    MicroPython's `ssl.SSLContext` does not verify by default, even after `load_verify_locations`.
    """
    # the module `ssl` and the class `SSLContext` have a function `wrap_socket`, too
    if not hasattr(context, "wrap_socket") or isinstance(context, (type, type(sys))):
        raise TypeError("ssl must be an SSLContext, such as umqtt5.tls.context(ca='ca.pem')")
    mode = getattr(context, "verify_mode", None)
    if mode == _CERT_OPTIONAL:  # mbedTLS verifies and then ignores the result
        raise ValueError("ssl: verify_mode must be ssl.CERT_REQUIRED; CERT_OPTIONAL accepts any broker")
    if mode == _CERT_NONE and id(context) != _unverified_id:
        print("umqtt5.tls: the broker is not authenticated, because verify_mode is ssl.CERT_NONE")


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


class Stream:
    """A stream over MicroPython's `ssl`; see `tcp` for its methods.

    The first reads and writes perform the handshake. No port of MicroPython reports the end of the handshake.
    In TLS 1.3 the broker can refuse the client after it. So errors are examined until the first byte arrives.
    """

    def __init__(self, transport, below, host):
        self._transport = transport
        self._below = below
        self._host = host  # the name that the certificate must contain
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
        """Read until the first byte has arrived; then the method of the TLS socket replaces this one."""
        with self._catch_errors:
            n = self.pollable.readinto(buf, n)
        if n:
            self._transport.refusals = 0
            self.readinto = self.pollable.readinto  # type: ignore[method-assign]
        return n

    def write(self, buf, at, n):
        """Write during the handshake, which is over when the stream accepts a byte."""
        with self._catch_errors:
            n = self._write_on(buf, at, n)
        if n:
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
        """Convert an error of the handshake to an OSError that says what to do, and raise it."""
        try:
            from .optional.tls_errors import raise_error
        except MemoryError:
            raise OSError(error.args[0])
        raise_error(self, error)


if sys.implementation.name == "cpython":
    from .cpython.tls import Stream
    from .cpython.tls import make_context as _make_context  # noqa: F811
