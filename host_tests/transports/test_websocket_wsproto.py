"""The WebSocket against a library that has its own reading of the RFC."""

from __future__ import annotations

import random

from wsproto import ConnectionType, WSConnection, events

from umqtt5 import websocket


class WsprotoServer:
    """A server of wsproto as the stream below; takes and gives at most `cut` bytes at a time."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.connection = WSConnection(ConnectionType.SERVER)
        self.inbox = b""
        self.payload = b""  # of the binary messages that came
        self.pongs: list[bytes] = []
        self.closed: int | None = None

    def readinto(self, buf: bytearray, n: int) -> int | None:
        n = min(n, len(self.inbox), self.chance.choice((0, 1, 2, 7, 100, 5000)))
        buf[:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return n or None

    def write(self, buf: bytes, at: int, n: int) -> int | None:
        n = min(n, self.chance.choice((0, 1, 3, 50, 5000)))
        if n:
            self.connection.receive_data(bytes(buf[at : at + n]))
            self._handle_events()
        return n or None

    def close(self) -> None:
        pass

    def say(self, event: events.Event) -> None:
        self.inbox += self.connection.send(event)

    def _handle_events(self) -> None:
        for event in self.connection.events():
            match event:
                case events.Request():
                    assert event.subprotocols == ["mqtt"] and event.target == "/mqtt"
                    self.say(events.AcceptConnection(subprotocol="mqtt"))
                case events.BytesMessage():
                    self.payload += event.data
                case events.Pong():
                    self.pongs.append(bytes(event.payload))
                case events.CloseConnection():
                    self.closed = event.code
                case _:
                    raise AssertionError(event)


def test_wsproto_accepts_a_conversation() -> None:
    for seed in range(60):
        chance = random.Random(seed)
        server = WsprotoServer(chance)
        stream = websocket.wrap(lambda host, port, server=server: server)("broker", 80)
        while stream.do_handshake():
            pass
        sent = received = b""
        buf = bytearray(3000)
        expected = b""
        pings: list[bytes] = []
        for _ in range(30):
            data = chance.randbytes(chance.choice((1, 2, 125, 126, 300, 504, 505, 2000)))
            at = 0
            while at < len(data):
                at += stream.write(data, at, len(data) - at) or 0
                if chance.random() < 0.2:
                    n = stream.readinto(buf, 3000)
                    received += bytes(buf[: n or 0])
            sent += data
            back = chance.randbytes(chance.choice((0, 1, 126, 4000)))
            half = chance.randrange(len(back) + 1)
            server.say(events.BytesMessage(back[:half], message_finished=False))
            if chance.random() < 0.5 and not server.inbox.count(b"ping"):
                pings.append(b"ping %d" % len(pings))
                server.say(events.Ping(pings[-1]))
            server.say(events.BytesMessage(back[half:]))
            expected += back
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


def test_a_close_from_wsproto_is_answered() -> None:
    server = WsprotoServer(random.Random(1))
    stream = websocket.wrap(lambda host, port: server)("broker", 80)
    while stream.do_handshake():
        pass
    server.say(events.CloseConnection(1012, "restart"))
    buf = bytearray(10)
    while stream.readinto(buf, 10) != 0:
        pass
    while stream._control_end:
        stream._flush_control()
    assert server.closed == 1012
