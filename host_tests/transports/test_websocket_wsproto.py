"""The WebSocket against a library that has its own reading of the RFC."""

from __future__ import annotations

import random

from wsproto import ConnectionType, WSConnection
from wsproto import events as happened

from umqtt5 import websocket


class Judge:
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
            self._judge()
        return n or None

    def close(self) -> None:
        pass

    def say(self, event: happened.Event) -> None:
        self.inbox += self.connection.send(event)

    def _judge(self) -> None:
        for event in self.connection.events():
            match event:
                case happened.Request():
                    assert event.subprotocols == ["mqtt"] and event.target == "/mqtt"
                    self.say(happened.AcceptConnection(subprotocol="mqtt"))
                case happened.BytesMessage():
                    self.payload += event.data
                case happened.Pong():
                    self.pongs.append(bytes(event.payload))
                case happened.CloseConnection():
                    self.closed = event.code
                case _:
                    raise AssertionError(event)


def test_a_conversation_that_the_judge_accepts() -> None:
    for seed in range(60):
        chance = random.Random(seed)
        judge = Judge(chance)
        stream = websocket.over(lambda host, port, judge=judge: judge)("broker", 80)
        while stream.opening():
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
            judge.say(happened.BytesMessage(back[:half], message_finished=False))
            if chance.random() < 0.5 and not judge.inbox.count(b"ping"):
                pings.append(b"ping %d" % len(pings))
                judge.say(happened.Ping(pings[-1]))
            judge.say(happened.BytesMessage(back[half:]))
            expected += back
        for _ in range(100000):
            n = stream.readinto(buf, 3000)
            received += bytes(buf[: n or 0])
            if not judge.inbox and len(received) == len(expected) and not stream._control_end:
                break
        assert judge.payload == sent and received == expected, seed
        assert set(judge.pongs) <= set(pings) and (judge.pongs[-1:] == pings[-1:]), seed
        stream.close()
        while judge.closed is None and stream._control_end:
            stream._below = judge
            stream._flushed()
        assert judge.closed == 1000, seed


def test_the_close_of_the_judge_is_answered() -> None:
    judge = Judge(random.Random(1))
    stream = websocket.over(lambda host, port: judge)("broker", 80)
    while stream.opening():
        pass
    judge.say(happened.CloseConnection(1012, "restart"))
    buf = bytearray(10)
    while stream.readinto(buf, 10) != 0:
        pass
    while stream._control_end:
        stream._flushed()
    assert judge.closed == 1012
