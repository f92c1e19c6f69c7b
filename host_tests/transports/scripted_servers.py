"""Scripted servers over TCP or TLS, for behaviour that no broker shows: silence, stalls, bursts."""

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
    """Call `serve` for each connection in a thread of its own, over TLS if `certificate` is a path."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()
    threads: list[threading.Thread] = []

    def serve_connection(connection: socket.socket) -> None:
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
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=serve_connection, args=(connection,), daemon=True))
                threads[-1].start()

    listener.settimeout(0.1)
    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield broker.Address("127.0.0.1", listener.getsockname()[1])
    finally:
        stopped.set()
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
    """Read n bytes. Raises OSError at the end of the stream."""
    data = b""
    while len(data) < n:
        received = connection.recv(n - len(data))
        if not received:
            raise OSError("end of stream")
        data += received
    return data
