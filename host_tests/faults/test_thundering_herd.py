"""A thousand clients whose broker restarts: the back-off spreads their reconnects. Uses a simulated clock."""

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
    """Replaces `select.poll`. Its stream is always readable and writable."""

    def register(self, stream: Any, events: int) -> None:
        self.stream = stream

    def modify(self, stream: Any, events: int) -> None:
        pass

    def unregister(self, stream: Any) -> None:
        pass

    def ipoll(self, wait: int) -> list[tuple[Any, int]]:
        return [(self.stream, 5)]


class Stream:
    """A connection to the simulated broker. A restart of the broker breaks it."""

    def __init__(self, herd: ClientHerd) -> None:
        self.herd = herd
        self.inbox = CONNACK
        self.restarts = herd.restarts  # number of broker restarts before this connection

    def readinto(self, buf: bytearray, n: int) -> int | None:
        if self.restarts != self.herd.restarts:
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
    """The clients and their broker. A client runs when its next timeout is due or the broker restarts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        self.restarts = 0
        self.broker_is_up = True
        self.connects: Counter[int] = Counter()  # number of connections, by second
        self.attempts: Counter[int] = Counter()  # number of attempts to connect, by second
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
        self.attempts[self.now // 1000] += 1
        if not self.broker_is_up:
            raise OSError(111, "refused")
        self.connects[self.now // 1000] += 1
        return Stream(self)

    def run(self, until: int) -> None:
        """Run the clients until this time in ms."""
        while self.queue and self.queue[0][0] <= until:
            self.now, i = heapq.heappop(self.queue)
            idle = self.clients[i]._poll_once()
            if idle < 1 << 29:
                heapq.heappush(self.queue, (self.now + idle, i))
        self.now = until

    def restart(self, down: int) -> int:
        """Stop the broker for `down` ms, and return the time at which it is up again."""
        self.restarts += 1
        self.broker_is_up = False
        self.queue = [(self.now, i) for i in range(CLIENTS)]
        self.connects.clear()
        up_at = self.now + down
        self.run(up_at - 1)
        self.broker_is_up = True
        return up_at


@pytest.mark.parametrize("down", [0, 1000, 3000, 10_000, 60_000, 600_000])
def test_reconnects_after_a_broker_restart_are_spread_over_time(
    down: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    herd = ClientHerd(monkeypatch)
    herd.run(60_000)
    assert all(client.is_connected for client in herd.clients)
    up_at = herd.restart(down)
    herd.run(up_at + 200_000)
    assert all(client.is_connected for client in herd.clients)
    seconds = [herd.connects[second] for second in range(up_at // 1000, max(herd.connects) + 1)]
    assert sum(seconds) == CLIENTS
    assert max(seconds) <= 5 * CLIENTS / len(seconds), seconds


def test_all_clients_reconnect_within_two_seconds_of_a_short_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    herd = ClientHerd(monkeypatch)
    herd.run(60_000)
    herd.restart(0)
    herd.run(herd.now + 2000)
    assert all(client.is_connected for client in herd.clients)


def test_a_missing_broker_is_tried_every_40_seconds_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    herd = ClientHerd(monkeypatch)
    herd.run(60_000)
    herd.restart(3_600_000)
    attempts = sum(n for second, n in herd.attempts.items() if second >= 1800)
    assert attempts / CLIENTS < 1900 / 38  # each delay is random between 20 s and 60 s
