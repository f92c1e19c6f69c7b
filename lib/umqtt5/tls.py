"""TLS over another transport (5.4); `Client(ssl=)` loads it. See `context` and `over`.

from umqtt5 import Client, tls

client = Client("broker.local", ssl=tls.context(ca="ca.pem"))
"""

import sys
from binascii import a2b_base64

from micropython import const

from .core.errors import Guard
from .optional.permanent_error import LastingError

_VERIFY_FAILED = const(-0x2700)  # mbedTLS's numbers
_FATAL_ALERT = const(-0x7780)

_PATIENCE = const(3)  # refusals in a row that can't be chance


def context(ca=None, cert=None, key=None, verify=True):
    """An SSLContext for `Client(ssl=)`.

    `ca`: the certificates that may have signed the broker's; whether it has the name that
    `Client` is given is checked, too. `cert` and `key`: a certificate of our own with its private
    key, for a broker that asks for one. Each is a path (str) or its content (bytes), PEM or DER.
    MicroPython sends one certificate and no chain; CPython takes `cert` and `key` as PEM only.

    Without `ca` there has to be `verify=False`: what is sent can't be read on its way, but it
    may go to anybody. Raises ValueError, or OSError for a file that can't be read.
    """
    trusts(ca, cert, key, verify)
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
            raise ValueError("cert: one certificate, MicroPython sends no chain")
        made.load_cert_chain(ders[0], _ders(key, b"PRIVATE KEY")[0])
    return made


def trusts(ca, cert, key, verify):
    """Raises ValueError where the arguments of `context` do not go together."""
    if ca is None and verify:
        raise ValueError("ca is missing, or verify=False: then anybody may be the broker")
    if ca is not None and not verify:
        raise ValueError("ca, or verify=False, not both")
    if (cert is None) != (key is None):
        raise ValueError("cert and key go together")


def _ders(data, label):
    """The parts of PEM data with this label, as DER, which is all that some ports can read."""
    if isinstance(data, str):
        with open(data, "rb") as file:
            data = file.read()
    if b"-----BEGIN " not in data:
        return [data]
    found = []
    for part in data.split(b"-----BEGIN ")[1:]:
        part = part.split(b"-----")
        if part[0] == b"ENCRYPTED PRIVATE KEY" or b"ENCRYPTED" in part[1]:
            raise ValueError("key: is encrypted")
        if part[0].endswith(label):
            found.append(a2b_base64(part[1]))
    if not found:
        raise ValueError("no " + label.decode() + " in the PEM data")
    return found


def over(transport, context, server_hostname=None):
    """A transport with TLS round the stream of another. `context` is an SSLContext.

    `server_hostname` is the name that the broker's certificate has to have, where it is not the
    `host` of `Client`. The handshake does not block: it goes on with each piece that arrives; what a
    piece costs to compute is not divided. It is bounded by `timeout`: of `connect` on CPython and
    under a WebSocket, of `connack` else.

    A certificate that does not verify, and an alert by which the broker refuses us, are a
    LastingError when they come for the third time in a row: one that comes once may be of a bad line,
    and the first ones of a clock that is not set yet.
    """
    if not hasattr(context, "wrap_socket"):
        raise TypeError("ssl: an SSLContext, see umqtt5.tls.context")
    return Over(transport, context, server_hostname)


class Over:
    """The transport; counts the refusals in a row."""

    def __init__(self, transport, context, server_hostname):
        self._transport = transport
        self.context = context
        self._server_hostname = server_hostname
        self.refusals = 0

    def __call__(self, host, port):
        below = self._transport(host, port)
        try:
            return Stream(self, below, self._server_hostname or host)
        except BaseException:
            below.close()
            raise

    def refused(self, number, words):
        """Raise the error of a handshake that one of the two has refused."""
        self.refusals += 1
        raise (OSError if self.refusals < _PATIENCE else LastingError)(number, words)


class Stream:
    """A stream of MicroPython's `ssl`.

    The handshake is done by the first read and write, and goes on with each: no port tells when it is
    over, but for the first byte that is taken.
    """

    def __init__(self, over, below, host):
        self._over = over
        self._below = below
        if hasattr(below, "opening"):
            self.opening = below.opening
        # this is what can be polled: it has read bytes from the socket that it has not given yet
        self.pollable = over.context.wrap_socket(
            below.sock if hasattr(below, "sock") else below,
            server_hostname=host,
            do_handshake_on_connect=False,
        )
        self._write = self.pollable.write
        self._held = 0
        self._guard = Guard(Exception, self._told)

    def readinto(self, buf, n):
        """While the handshake lasts."""
        with self._guard:
            n = self.pollable.readinto(buf, n)
        return n

    def write(self, buf, at, n):
        """While the handshake lasts."""
        with self._guard:
            n = self._write_on(buf, at, n)
        if n:
            self._over.refusals = 0
            self.readinto = self.pollable.readinto  # type: ignore[method-assign]
            self.write = self._write_on  # type: ignore[method-assign]
        return n

    def _write_on(self, buf, at, n):
        # mbedTLS may have encrypted what it could not send: it then wants the same bytes again, and
        # counts any that come behind them as sent
        if self._held:
            n = self._held
        self._held = n
        n = self._write(buf, at, n)
        if n:
            self._held = 0
        return n

    def close(self):
        self.pollable.close()
        self._below.close()

    def _told(self, error):
        """Raise what an error of the handshake is to the client."""
        if isinstance(error, ValueError):
            self._over.refused(_VERIFY_FAILED, str(error).strip())
        if isinstance(error, OSError) and error.errno == _FATAL_ALERT:
            self._over.refused(_FATAL_ALERT, "TLS: the broker refuses us")
        raise error


if sys.implementation.name == "cpython":
    from .cpython.tls import Stream, make

    def context(ca=None, cert=None, key=None, verify=True):  # noqa: F811
        trusts(ca, cert, key, verify)
        return make(ca, cert, key)
