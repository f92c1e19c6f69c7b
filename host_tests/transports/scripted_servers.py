"""Other sides that no broker plays: silent ones, deaf ones, those that say all at once."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

from tools import broker

Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def serve_connections(serve: Serve, certificate: str | None = None) -> Iterator[broker.Address]:
    """Have each connection served in a thread of its own, over TLS where there is a certificate."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        connection.settimeout(60)
        with contextlib.suppress(OSError), connection:
            if certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate)
                with context.wrap_socket(connection, server_side=True) as wrapped:
                    serve(wrapped)
            else:
                serve(connection)

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                threads[-1].start()

    listener.settimeout(0.1)
    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield broker.Address("127.0.0.1", listener.getsockname()[1])
    finally:
        over.set()
        acceptor.join()
        listener.close()


def read_packet(connection: socket.socket) -> tuple[int, bytes]:
    """Read one MQTT packet: its first byte and its body. Raises OSError at the end of the stream."""
    first = read_exactly(connection, 1)[0]
    size = shift = 0
    while True:
        byte = read_exactly(connection, 1)[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first, read_exactly(connection, size)


def read_exactly(connection: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        piece = connection.recv(n - len(data))
        if not piece:
            raise OSError("the end")
        data += piece
    return data
