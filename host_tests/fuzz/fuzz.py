"""Mutated streams into a session: `make fuzz SECONDS=60`.

Whatever arrives, a session goes on or ends with a DISCONNECT whose reason code the standard
lists; it never raises, never stands still with bytes unread, never grows its buffers.
"""

from __future__ import annotations

import random
import time
from typing import Annotated

import typer

from helper import CONNACK, Peer, message, packet, text
from umqtt5.aliases import AliasTable
from umqtt5.session import CLOSING, CONNECTED
from umqtt5.topics import Topic

# the seeds: everything that a broker may say, right
CORPUS = [
    CONNACK,
    packet(0x20, b"\x00\x00\x0e\x21\x00\x05\x22\x00\x03\x27\x00\x00\x01\x00\x24\x01"),
    packet(0x20, b"\x01\x00\x00"),
    packet(0x20, b"\x00\x87\x06\x1f", text(b"why")),
    message(b"a/b", b"x"),
    message(b"a/b", b"x" * 120, 1, 7, b"\x0b\x01"),
    message(b"a/b", b"x", 2, 9, b"\x08\x00\x01r\x09\x00\x02cd\x26\x00\x01k\x00\x01v"),
    message(b"a/b", b"x", 2, 9, flags=8),
    message("é/ü".encode(), b"", 0, 0, b"\x01\x01\x02\x00\x00\x00\x05\x03\x00\x01t"),
    message(b"a/b", b"x", 1, 4, b"\x23\x00\x01"),
    message(b"", b"x", 0, 0, b"\x23\x00\x01"),
    b"\x40\x02\x00\x01",
    b"\x40\x03\x00\x02\x97",
    b"\x50\x02\x00\x03",
    b"\x62\x02\x00\x09",
    b"\x70\x02\x00\x03",
    packet(0x90, b"\x00\x01\x00\x01"),
    packet(0xB0, b"\x00\x02\x00\x00"),
    b"\xd0\x00",
    packet(0xE0, b"\x8b\x06\x1f", text(b"bye")),
]


def mutate(chance: random.Random, data: bytes) -> bytes:
    """Change some bytes: flip, drop, insert, double, swap for a number that is often special."""
    out = bytearray(data)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        at = chance.randrange(len(out) + 1)
        what = chance.randrange(5)
        if what == 0 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            del out[at : at + chance.randrange(1, 4)]
        elif what == 2:
            out[at:at] = chance.randbytes(chance.randrange(1, 4))
        elif what == 3:
            out[at:at] = out[at : at + 20]
        elif at < len(out):
            out[at] = chance.choice((0, 1, 2, 0x7F, 0x80, 0xFF))
    return bytes(out)


class Case:
    """One session over some connections."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.peer = Peer(rx=chance.choice((64, 128, 256)), tx=chance.choice((64, 128)), inflight=3)
        self.session = self.peer.session
        if chance.random() < 0.5:
            self.session.aliases = AliasTable(2)
        self.topic = Topic("some/topic")
        self.session.on_error = lambda error: None
        self.peer.subscribe("a/b", self.handle, 2)
        self.peer.subscribe("#", self.handle, 0)
        sender = self.session
        self.buffers = (self.session.rx, sender.tx, sender.outbox.arena)
        self.sizes = [len(buffer) for buffer in self.buffers]

    def handle(self, message_: object) -> None:
        if self.chance.random() < 0.1:
            raise ValueError("a handler that fails")
        if self.chance.random() < 0.3:
            self.peer.publish(self.topic, b"answer", qos=self.chance.randrange(3))

    def write(self) -> None:
        """The stream takes what it likes of what there is to write."""
        sender = self.session
        n = sender.output()
        while n and self.chance.random() < 0.9:
            self.session.sent(self.chance.randrange(1, n + 1), self.peer.now)
            n = sender.output()

    def step(self) -> None:
        chance, peer = self.chance, self.peer
        if chance.random() < 0.3:
            peer.publish(self.topic, b"x" * chance.randrange(20), qos=chance.randrange(3))
        if chance.random() < 0.05:
            peer.now += chance.randrange(3000)
            try:
                self.session.tick(peer.now)
            except OSError:
                self.session.lost()
        self.write()

    def run(self) -> None:
        chance, session = self.chance, self.session
        for _ in range(chance.randrange(1, 4)):
            session.open(self.peer.now)
            self.write()
            pieces = [CORPUS[0]] if chance.random() < 0.8 else []
            pieces += [mutate(chance, chance.choice(CORPUS)) for _ in range(chance.randrange(12))]
            data = b"".join(pieces)
            while data and session.state in (1, CONNECTED):
                if session.held:
                    self.write()
                    session.parse()
                    continue
                want = session.framer.want
                assert want > 0, "it stands still"
                n = min(want, len(data), chance.choice((1, 3, 50, 1000)))
                session.framer.into[:n] = data[:n]
                data = data[n:]
                session.received(n, self.peer.now)
                self.step()
            if session.state == CLOSING:
                assert session.error is not None
                assert session.error.code >= 0x80 or not session.error.code
            session.lost()
            assert [len(buffer) for buffer in self.buffers] == self.sizes, "a buffer grew"


def run(seconds: float, seed: int) -> int:
    """Run cases one after the other for so long; returns how many. A failure names its seed."""
    ends = time.monotonic() + seconds
    count = 0
    while time.monotonic() < ends:
        try:
            Case(seed + count).run()
        except Exception as error:
            raise AssertionError(f"seed {seed + count}: {error!r}") from error
        count += 1
    return count


def main(
    seconds: Annotated[float, typer.Option(help="for how long")] = 60,
    seed: Annotated[int, typer.Option(help="the first seed; a failure names its own")] = 0,
) -> None:
    """Mutated streams into the session."""
    ends = time.monotonic() + seconds
    count = 0
    while time.monotonic() < ends:
        count += run(min(5, max(0.1, ends - time.monotonic())), seed + count)
        print(f"{count} sessions", flush=True)


if __name__ == "__main__":
    typer.run(main)
