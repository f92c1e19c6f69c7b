"""TLS on CPython: the SSLContext and the stream behind `umqtt5.tls`. Not used on a board."""

import os
import socket
import ssl
import tempfile

# alerts by which a broker refuses a client; alerts that are not listed can be caused by corrupted data
_REFUSALS = (
    "_CERTIFICATE",
    "_CERTIFICATE_REVOKED",
    "_CERTIFICATE_EXPIRED",
    "_CERTIFICATE_UNKNOWN",
    "_CERTIFICATE_REQUIRED",
    "_UNKNOWN_CA",
    "_ACCESS_DENIED",
    "_HANDSHAKE_FAILURE",
    "_PROTOCOL_VERSION",
    "_UNRECOGNIZED_NAME",
)


def make_context(ca, cert, key):
    """Return an SSLContext; see `umqtt5.tls.context`. Without `ca` it accepts any broker.

    Raises ValueError, or OSError if a file can't be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            data = _read(ca)
            context.load_verify_locations(cadata=data.decode("ascii") if b"-----BEGIN " in data else data)
        if cert is not None:
            _load(context, _read(cert), _read(key))
    except ssl.SSLError as error:
        raise ValueError(f"ca, cert or key: {error}") from error
    return context


def _read(source):
    """Return the bytes of `source`: the path of a file (str) or its content (bytes)."""
    if isinstance(source, str):
        with open(source, "rb") as file:
            return file.read()
    return bytes(source)


def _load(context, cert, key):
    """Load certificate and key from a temporary file that only this user can read: `ssl` reads files only."""
    if b"-----BEGIN " not in cert or b"-----BEGIN " not in key:
        raise ValueError("cert and key must be PEM")
    handle, path = tempfile.mkstemp()
    try:
        with open(handle, "wb") as file:
            file.write(key + b"\n" + cert)
        context.load_cert_chain(path, password=_no_password)
    finally:
        os.unlink(path)


def _no_password():
    raise ValueError("key must not be encrypted")


class Stream:
    """A non-blocking SSLSocket with the methods of a MicroPython stream."""

    def __init__(self, transport, below, host):
        self._transport = transport
        self._sock = below.sock
        self._do_handshake = getattr(below, "do_handshake", None)
        self._context = transport.context
        self._host = host

    def do_handshake(self):
        """Continue the handshakes, beginning with that of the stream below; see `umqtt5.tcp`."""
        if self._do_handshake:
            events = self._do_handshake()
            if events:
                return events
            self._do_handshake = None
        try:
            if self._context:
                error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                self._sock = self._context.wrap_socket(
                    self._sock, server_hostname=self._host, do_handshake_on_connect=False
                )
                self._context = None
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return 1
        except ssl.SSLWantWriteError:
            return 4
        except ssl.SSLError as error:
            self._raise_error(error)
        return 0

    def readinto(self, buf, n):
        if not n:
            return None
        try:
            n = self._sock.recv_into(buf, n)
            if n:
                # not at the end of the handshake: with TLS 1.3 the broker can refuse the client after it
                self._transport.refusals = 0
            return n
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLError as error:
            self._raise_error(error)

    def write(self, buf, at, n):
        try:
            return self._sock.send(memoryview(buf)[at : at + n])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except (ssl.SSLEOFError, ConnectionError):
            return None  # the connection is closed; the next read reports why, perhaps with an alert
        except ssl.SSLError as error:
            self._raise_error(error)

    def pending(self):
        """Return True if decrypted bytes are available, which `select` does not see."""
        return not self._context and self._sock.pending() > 0

    def close(self):
        self._sock.close()

    def fileno(self):
        return self._sock.fileno()

    def _raise_error(self, error):
        """Convert an SSLError to an error that the client understands, and raise it."""
        if isinstance(error, ssl.SSLCertVerificationError):
            self._transport.raise_refusal(error.errno, error.verify_message)
        if "_ALERT_" in (error.reason or "") and error.reason.endswith(_REFUSALS):
            self._transport.raise_refusal(
                error.errno, f"TLS: the broker refuses the connection ({error.reason})"
            )
        raise error
