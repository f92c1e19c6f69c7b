"""The WebSocket transport against wsproto, an independent implementation of RFC 6455."""

from __future__ import annotations

import random

import pytest
from wsproto import ConnectionType, WSConnection, events

from umqtt5 import websocket


class WsprotoServer:
    """A wsproto server as the stream below the transport; each read or write has a random size."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.connection = WSConnection(ConnectionType.SERVER)
        self.inbox = b""
        self.payload = b""  # data of all binary messages received
        self.pongs: list[bytes] = []
        self.closed: int | None = None

    def readinto(self, buf: bytearray, n: int) -> int | None:
        n = min(n, len(self.inbox), self.rng.choice((0, 1, 2, 7, 100, 5000)))
        buf[:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return n or None

    def write(self, buf: bytes, at: int, n: int) -> int | None:
        n = min(n, self.rng.choice((0, 1, 3, 50, 5000)))
        if n:
            self.connection.receive_data(bytes(buf[at : at + n]))
            self._handle_events()
        return n or None

    def close(self) -> None:
        pass

    def send(self, event: events.Event) -> None:
        self.inbox += self.connection.send(event)

    def _handle_events(self) -> None:
        for event in self.connection.events():
            match event:
                case events.Request():
                    assert event.subprotocols == ["mqtt"] and event.target == "/mqtt"
                    self.send(events.AcceptConnection(subprotocol="mqtt"))
                case events.BytesMessage():
                    self.payload += event.data
                case events.Pong():
                    self.pongs.append(bytes(event.payload))
                case events.CloseConnection():
                    self.closed = event.code
                case _:
                    raise AssertionError(event)


def test_data_pings_and_close_are_exchanged_with_wsproto() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        server = WsprotoServer(rng)
        stream = websocket.wrap(lambda host, port, server=server: server)("broker", 80)
        while stream.do_handshake():
            pass
        sent = received = b""
        buf = bytearray(3000)
        expected = b""
        pings: list[bytes] = []
        for _ in range(30):
            data = rng.randbytes(rng.choice((1, 2, 125, 126, 300, 504, 505, 2000)))
            written = 0
            while written < len(data):
                written += stream.write(data, written, len(data) - written) or 0
                if rng.random() < 0.2:
                    n = stream.readinto(buf, 3000)
                    received += bytes(buf[: n or 0])
            sent += data
            reply = rng.randbytes(rng.choice((0, 1, 126, 4000)))
            split = rng.randrange(len(reply) + 1)
            server.send(events.BytesMessage(reply[:split], message_finished=False))
            if rng.random() < 0.5 and not server.inbox.count(b"ping"):
                pings.append(b"ping %d" % len(pings))
                server.send(events.Ping(pings[-1]))
            server.send(events.BytesMessage(reply[split:]))
            expected += reply
        for _ in range(100000):
            n = stream.readinto(buf, 3000)
            received += bytes(buf[: n or 0])
            if not server.inbox and len(received) == len(expected) and not stream._control_end:
                break
        assert server.payload == sent and received == expected, seed
        assert set(server.pongs) <= set(pings) and (server.pongs[-1:] == pings[-1:]), seed
        stream.close()
        while server.closed is None and stream._control_end:
            stream._below = server
            stream._flush_control()
        assert server.closed == 1000, seed


def test_a_close_frame_from_wsproto_is_answered_with_its_code() -> None:
    server = WsprotoServer(random.Random(1))
    stream = websocket.wrap(lambda host, port: server)("broker", 80)
    while stream.do_handshake():
        pass
    server.send(events.CloseConnection(1012, "restart"))
    buf = bytearray(10)
    with pytest.raises(ConnectionResetError, match="1012 service restart .restart"):
        for _ in range(100):
            assert stream.readinto(buf, 10) is None
    while stream._control_end:
        stream._flush_control()
    assert server.closed == 1012
