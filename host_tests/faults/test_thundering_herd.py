"""A thousand clients whose broker restarts: the real loop and back-off, on one simulated clock."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from typing import Any

import pytest

from umqtt5.core import client as client_module
from umqtt5.core import connection as module

CLIENTS = 1000
CONNACK = b"\x20\x03\x00\x00\x00"


class Poller:
    """Every stream of this herd is ready at once, or never will be."""

    def register(self, stream: Any, events: int) -> None:
        self.stream = stream

    def modify(self, stream: Any, events: int) -> None:
        pass

    def unregister(self, stream: Any) -> None:
        pass

    def ipoll(self, wait: int) -> list[tuple[Any, int]]:
        return [(self.stream, 5)]


class Stream:
    def __init__(self, herd: ClientHerd) -> None:
        self.herd = herd
        self.inbox = CONNACK
        self.born = herd.restarts

    def readinto(self, buf: bytearray, n: int) -> int | None:
        if self.born != self.herd.restarts:
            raise OSError(104, "reset")
        n = min(n, len(self.inbox))
        buf[:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return n or None

    def write(self, buf: bytearray, at: int, n: int) -> int:
        return n

    def close(self) -> None:
        pass


class ClientHerd:
    """Clients that are stepped when they ask for it, and when their broker restarts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        self.restarts = 0
        self.up = True
        self.connects: Counter[int] = Counter()  # by second
        self.tries: Counter[int] = Counter()
        monkeypatch.setattr(module, "ticks_ms", lambda: self.now & 0x3FFFFFFF)
        monkeypatch.setattr(module, "poll", Poller)
        numbers = random.Random(1)
        monkeypatch.setattr(module, "getrandbits", numbers.getrandbits)
        self.clients = [
            client_module.Client("b", client_id="c", transport=self.connect, keep_alive=0)
            for _ in range(CLIENTS)
        ]
        for client in self.clients:
            client.connect(wait=False)
        self.queue = [(0, i) for i in range(CLIENTS)]

    def connect(self, host: str, port: int) -> Stream:
        self.tries[self.now // 1000] += 1
        if not self.up:
            raise OSError(111, "refused")
        self.connects[self.now // 1000] += 1
        return Stream(self)

    def run(self, until: int) -> None:
        while self.queue and self.queue[0][0] <= until:
            self.now, i = heapq.heappop(self.queue)
            idle = self.clients[i]._poll_once()
            if idle < 1 << 29:
                heapq.heappush(self.queue, (self.now + idle, i))
        self.now = until

    def restart(self, down: int) -> int:
        """The broker ends now, and is back after `down` ms; returns when."""
        self.restarts += 1
        self.up = False
        self.queue = [(self.now, i) for i in range(CLIENTS)]
        self.connects.clear()
        back = self.now + down
        self.run(back - 1)
        self.up = True
        return back


@pytest.mark.parametrize("down", [0, 1000, 3000, 10_000, 60_000, 600_000])
def test_reconnects_are_spread(down: int, monkeypatch: pytest.MonkeyPatch) -> None:
    herd = ClientHerd(monkeypatch)
    herd.run(60_000)
    assert all(client.is_connected for client in herd.clients)
    back = herd.restart(down)
    herd.run(back + 200_000)
    assert all(client.is_connected for client in herd.clients)
    seconds = [herd.connects[second] for second in range(back // 1000, max(herd.connects) + 1)]
    assert sum(seconds) == CLIENTS
    assert max(seconds) <= 5 * CLIENTS / len(seconds), seconds


def test_after_a_short_restart_all_are_back_within_the_first_back_off_and_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    herd = ClientHerd(monkeypatch)
    herd.run(60_000)
    herd.restart(0)
    herd.run(herd.now + 2000)
    assert all(client.is_connected for client in herd.clients)


def test_a_broker_that_stays_away_is_asked_every_forty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    herd = ClientHerd(monkeypatch)
    herd.run(60_000)
    herd.restart(3_600_000)
    asked = sum(n for second, n in herd.tries.items() if second >= 1800)
    assert asked / CLIENTS < 1900 / 38  # the pauses are drawn from 20 s up to a minute
