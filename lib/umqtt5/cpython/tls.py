"""TLS as CPython has it: contexts and streams for `tls`. Not put on a board."""

import os
import socket
import ssl
import tempfile

# alerts that speak of us, and not of what arrived
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


def make(ca, cert, key):
    """An SSLContext; without `ca` one that takes any broker."""
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


def _read(what):
    if isinstance(what, str):
        with open(what, "rb") as file:
            return file.read()
    return bytes(what)


def _load(context, cert, key):
    """The `ssl` of CPython takes them from a file only: one that none but us can read."""
    if b"-----BEGIN " not in cert or b"-----BEGIN " not in key:
        raise ValueError("cert and key: PEM is expected")
    handle, path = tempfile.mkstemp()
    try:
        with open(handle, "wb") as file:
            file.write(key + b"\n" + cert)
        context.load_cert_chain(path, password=_no_password)
    finally:
        os.unlink(path)


def _no_password():
    raise ValueError("key: is encrypted")


class Stream:
    """A non-blocking SSLSocket with the methods of a MicroPython stream."""

    def __init__(self, over, below, host):
        self._over = over
        self._sock = below.sock
        self._opening = getattr(below, "opening", None)
        self._context = over.context
        self._host = host

    def opening(self):
        if self._opening:
            events = self._opening()
            if events:
                return events
            self._opening = None
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
            self._told(error)
        return 0

    def readinto(self, buf, n):
        if not n:
            return None
        try:
            n = self._sock.recv_into(buf, n)
            if n:
                self._over.refusals = 0  # the handshake alone says nothing: TLS 1.3 refuses us behind it
            return n
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLError as error:
            self._told(error)

    def write(self, buf, at, n):
        try:
            return self._sock.send(memoryview(buf)[at : at + n])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except (ssl.SSLEOFError, ConnectionError):
            return None  # it is closed, and the next read tells why: maybe by an alert
        except ssl.SSLError as error:
            self._told(error)

    def pending(self):
        """True where bytes were read from the socket that `select` does not see any more."""
        return not self._context and self._sock.pending() > 0

    def close(self):
        self._sock.close()

    def fileno(self):
        return self._sock.fileno()

    def _told(self, error):
        """Raise what a failure is to the client."""
        if isinstance(error, ssl.SSLCertVerificationError):
            self._over.refused(error.errno, error.verify_message)
        if "_ALERT_" in (error.reason or "") and error.reason.endswith(_REFUSALS):
            self._over.refused(error.errno, f"TLS: the broker refuses us ({error.reason})")
        raise error
