"""TLS on CPython: the SSLContext and the stream behind `umqtt5.tls`. Not used on a board."""

import base64
import os
import socket
import ssl
import tempfile
from errno import EINVAL

from ..optional.permanent_error import PermanentError
from ..optional.tls_errors import (
    CLOSED,
    NOT_TLS,
    find_alert,
    raise_alert,
    raise_certificate_error,
)

# the end of the names that OpenSSL gives to alerts: number of the alert
_ALERTS = {
    "_BAD_RECORD_MAC": 20,
    "_HANDSHAKE_FAILURE": 40,
    "_BAD_CERTIFICATE": 42,
    "_UNSUPPORTED_CERTIFICATE": 43,
    "_CERTIFICATE_REVOKED": 44,
    "_CERTIFICATE_EXPIRED": 45,
    "_CERTIFICATE_UNKNOWN": 46,
    "_UNKNOWN_CA": 48,
    "_ACCESS_DENIED": 49,
    "_DECRYPT_ERROR": 51,
    "_PROTOCOL_VERSION": 70,
    "_INSUFFICIENT_SECURITY": 71,
    "_UNRECOGNIZED_NAME": 112,
    "_UNKNOWN_PSK_IDENTITY": 115,
    "_CERTIFICATE_REQUIRED": 116,
    "_NO_APPLICATION_PROTOCOL": 120,
}
_NOT_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
_KEY_LABELS = ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")


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


def make_psk_context(psk, psk_identity):
    """Return an SSLContext for a pre-shared key. Raises AttributeError if `ssl` or OpenSSL has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the key authenticates both ends
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("PSK")  # a broker without the key must not be accepted
        identity = psk_identity.decode()
        context.set_psk_client_callback(lambda hint: (identity, psk))  # type: ignore[attr-defined]
    except (ssl.SSLError, NotImplementedError) as error:
        raise AttributeError(str(error)) from error
    context.psk_identity = identity  # type: ignore[attr-defined]  # for the words of errors
    return context


def _read(source):
    """Return the bytes of `source`: the path of a file (str) or its content (bytes, or str for PEM)."""
    if isinstance(source, str) and "-----BEGIN " in source:
        return source.encode()
    if isinstance(source, str):
        try:
            with open(source, "rb") as file:
                return file.read()
        except OSError as error:
            raise OSError(error.errno, "cannot read " + source) from error
    if not isinstance(source, (bytes, bytearray)):
        raise TypeError("ca, cert and key must be paths (str) or contents of files (bytes)")
    return bytes(source)


def _load(context, cert, key):
    """Load certificate and key from a temporary file that only this user can read: `ssl` reads files only."""
    if b"-----BEGIN " not in cert:
        cert = ssl.DER_cert_to_PEM_cert(cert).encode()
    if b"-----BEGIN " in key:
        keys = [key]
    else:  # DER does not name the format of the key
        data = base64.encodebytes(key).decode()
        keys = [f"-----BEGIN {label}-----\n{data}-----END {label}-----\n".encode() for label in _KEY_LABELS]
    for key in keys:
        handle, path = tempfile.mkstemp()
        try:
            with open(handle, "wb") as file:
                file.write(key + b"\n" + cert)
            context.load_cert_chain(path, password=_no_password)
            return
        except ssl.SSLError:
            if key is keys[-1]:
                raise
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
        self._has_read = False  # whether the broker has sent a byte after the handshake

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
                self._sock = self._wrap(self._sock)
                self._context = None
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return 1
        except ssl.SSLWantWriteError:
            return 4
        except ssl.SSLEOFError as error:
            raise OSError(error.errno, CLOSED) from error
        except ssl.SSLError as error:
            self._raise_error(error)
        except (ConnectionResetError, BrokenPipeError) as error:
            self._raise_closed(error)
        return 0

    def _wrap(self, sock):
        try:
            return self._context.wrap_socket(sock, server_hostname=self._host, do_handshake_on_connect=False)
        except (ValueError, ssl.SSLError) as error:
            # a name that is none, or a context for servers
            raise PermanentError(EINVAL, f"TLS to {self._host!r}: {error}") from error

    def readinto(self, buf, n):
        if not n:
            return None
        try:
            n = self._sock.recv_into(buf, n)
            if n:
                # not at the end of the handshake: with TLS 1.3 the broker can refuse the client after it
                self._transport.refusals = 0
                self._has_read = True
            return n
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLError as error:
            self._raise_error(error)
        except ConnectionError as error:
            if self._has_read:
                raise
            raise OSError(error.errno, CLOSED) from error

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

    def _raise_closed(self, error):
        """Raise the alert that arrived before the connection was closed, otherwise an error with words."""
        try:
            # not through TLS, which has failed
            record = socket.socket.recv(self._sock, 7)
        except OSError:
            record = b""
        alert = find_alert(record)
        if alert is not None:
            raise_alert(self._transport, error.errno, alert)
        raise OSError(error.errno, CLOSED) from error

    def _raise_error(self, error):
        """Convert an SSLError to an error that the client understands, and raise it."""
        if isinstance(error, ssl.SSLCertVerificationError):
            raise_certificate_error(self._transport, error.errno, error.verify_message, self._host)
        # OpenSSL 3.0 has names only for some alerts: "[SSL] tlsv1 alert unknown psk identity (_ssl.c:1020)"
        words = error.args[-1].replace("[SSL] ", "").split(" (")[0]
        reason = error.reason or words.replace(" ", "_").upper()
        if reason in _NOT_TLS and not self._has_read:
            raise OSError(error.errno, NOT_TLS) from error
        if reason.startswith(("SSLV3_ALERT_", "TLSV1_", "TLSV13_")) and not self._has_read:
            for name, alert in _ALERTS.items():
                if reason.endswith(name):
                    raise_alert(self._transport, error.errno, alert)
        raise error
