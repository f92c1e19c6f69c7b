"""A TLS server in front of a broker that, as a cloud, finds the broker by the name in the handshake (SNI)."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

from tools import broker


class TlsFront:
    """Accepts connections and forwards them to `target`; `names` are the server names of the clients."""

    def __init__(self, certificate: str, host_name: str, target: broker.Address) -> None:
        self.names: list[str | None] = []
        self._host_name, self._target = host_name, target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.sni_callback = self._check_name
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _check_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> int | None:
        self.names.append(name)
        return None if name == self._host_name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            secure = self._context.wrap_socket(connection, server_side=True)
            with socket.create_connection((self._target.host, self._target.port)) as link, secure:
                threading.Thread(target=_forward, args=(link, secure), daemon=True).start()
                _forward(secure, link)

    def close(self) -> None:
        # `close` alone does not end a call of `accept`
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(4096):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def tls_front(certificate: str, host_name: str, target: broker.Address) -> Iterator[TlsFront]:
    """Run a `TlsFront`."""
    front = TlsFront(certificate, host_name, target)
    try:
        yield front
    finally:
        front.close()
