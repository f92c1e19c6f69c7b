"""The TCP transport with a scripted server in the same process."""

from __future__ import annotations

import socket
import threading

from umqtt5 import Client

CONNACK = b"\x20\x03\x00\x00\x00"


class Listener:
    """A TCP server that accepts one connection, sends `to_write`, and reads until the client closes."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.read = b""
        self.to_write = CONNACK
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self.socket.accept()
        with connection:
            connection.sendall(self.to_write)
            while data := connection.recv(777):
                self.read += data


def test_no_byte_is_lost_or_reordered_in_either_direction() -> None:
    """[MQTT-4.2.0-1]"""
    listener = Listener()
    numbers = range(2000)
    for i in numbers:
        payload = b"%05d" % i
        listener.to_write += b"\x30\x09\x00\x01a\x00" + payload
    client = Client("127.0.0.1", listener.port, client_id="c", timeout=5000)
    got = []
    client.subscribe("a", lambda message: got.append(int(message.payload)))
    client.connect()
    sent = 0
    while sent < len(numbers):
        if client.publish("b", b"%05d" % sent):
            sent += 1
        else:
            client.poll(10)
    for _ in range(500):
        if len(got) == len(numbers):
            break
        client.poll(10)
    client.disconnect()
    listener.thread.join(10)
    listener.socket.close()
    assert got == list(numbers)
    _, _, stream = listener.read.partition(b"\x30\x09\x00\x01b\x00")
    assert [int(part[:5]) for part in stream.split(b"\x30\x09\x00\x01b\x00")] == list(numbers)
