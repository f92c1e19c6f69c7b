"""DNS server on loopback that answers as a faulty network does: late, wrongly, incompletely or not at all."""

from __future__ import annotations

import heapq
import random
import secrets
import select
import socket
import threading
import time
from collections import Counter

# An address that only wrong answers contain. No client may connect to it.
TRAP = "127.0.0.66"
# An address where nothing listens. It is in correct answers that are out of date.
DEAD = "127.0.0.77"

_KINDS = {  # kind of answer: how often it occurs
    "right": 24,
    "several addresses": 3,
    "alias": 3,
    "alias with address": 2,
    "silent": 6,
    "late": 5,
    "refused": 3,
    "server failure": 2,
    "unknown host": 1,
    "old address": 2,
    "truncated": 2,
    "cut": 2,
    "empty datagram": 1,
}
# Datagrams that the client must ignore. They arrive before or instead of an answer.
_FORGED = (
    "wrong identifier",
    "wrong question",
    "wrong source",
    "no response",
    "oversized",
    "compression loop",
    "noise",
)
_NAMES, _WEIGHTS = list(_KINDS), list(_KINDS.values())


def _record(kind: int, data: bytes, ttl: int, owner: bytes = b"\xc0\x0c") -> bytes:
    return owner + bytes((0, kind, 0, 1)) + ttl.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data


def _response(query: bytes, *records: bytes, code: int = 0, flags: int = 0x81) -> bytes:
    head = query[:2] + bytes((flags, 0x80 | code, 0, 1, 0, len(records), 0, 0, 0, 0))
    return head + query[12:] + b"".join(records)


class FaultyDns:
    """Two DNS servers, in a thread. `address` is the address of all names, and may be changed.

    `counts` counts the answers by kind. While `is_faulty` is False, all answers are right.
    """

    def __init__(self, address: str, seed: int) -> None:
        self.address = address
        self.is_faulty = True
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for sock in self._sockets:
            sock.bind(("127.0.0.1", 0))
        self.ports = [sock.getsockname()[1] for sock in self._sockets[:2]]
        self._late: list[tuple[float, int, socket.socket, bytes, tuple[str, int]]] = []
        self._is_stopped = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> FaultyDns:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopped = True
        self._thread.join()
        for sock in self._sockets:
            sock.close()

    def _serve(self) -> None:
        while not self._is_stopped:
            ready, _, _ = select.select(self._sockets[:2], [], [], 0.02)
            for sock in ready:
                query, source = sock.recvfrom(600)
                self._answer(sock, query, source)
            while self._late and self._late[0][0] < time.monotonic():
                _, _, sock, data, source = heapq.heappop(self._late)
                sock.sendto(data, source)

    def _answer(self, sock: socket.socket, query: bytes, source: tuple[str, int]) -> None:
        kind = self._random.choices(_NAMES, _WEIGHTS)[0] if self.is_faulty else "right"
        self.counts[kind] += 1
        if self.is_faulty and self._random.random() < 0.7:
            self._forge(query, source)
        if kind == "late":
            delay = self._random.uniform(0.05, 2.5)
            heapq.heappush(
                self._late, (time.monotonic() + delay, len(self._late), sock, self._right(query), source)
            )
            return
        for data in self._make(kind, query):
            sock.sendto(data, source)

    def _forge(self, query: bytes, source: tuple[str, int]) -> None:
        """Send a datagram that the client must ignore. Most contain the address `TRAP`."""
        kind = self._random.choice(_FORGED)
        self.counts["forged: " + kind] += 1
        answer = _response(query, self._address_record(TRAP))
        loop = self._address_record(TRAP, b"\xc0" + bytes((len(query),)))
        sock = self._sockets[2 if kind == "wrong source" else self._random.randrange(2)]
        data = {
            "wrong identifier": bytes((query[0] ^ 1,)) + answer[1:],
            "wrong question": answer[:13] + bytes((answer[13] ^ 1,)) + answer[14:],
            "wrong source": answer,
            "no response": answer[:2] + bytes((answer[2] & 0x7F,)) + answer[3:],
            "oversized": answer + bytes(600),
            "compression loop": _response(query, loop),
            "noise": secrets.token_bytes(self._random.randrange(1, 200)),
        }[kind]
        sock.sendto(data, source)

    def _right(self, query: bytes) -> bytes:
        return _response(query, self._address_record(self.address))

    def _address_record(self, address: str, owner: bytes = b"\xc0\x0c") -> bytes:
        return _record(1, socket.inet_aton(address), self._random.choice((0, 1, 3, 10)), owner)

    def _make(self, kind: str, query: bytes) -> list[bytes]:
        """Return the answers of one kind."""
        right = self._right(query)
        # an alias is in the same domain: one label in front of the name in the question
        alias = b"\1a\xc0\x0c"
        chain = _record(5, alias, 5)
        alias_at = len(query) + 12  # offset of the alias in the response
        with_address = _response(
            query, chain, self._address_record(self.address, (0xC000 | alias_at).to_bytes(2, "big"))
        )
        is_alias = query[12:14] == b"\1a"
        return {
            "right": [right],
            "several addresses": [_response(query, *[self._address_record(a) for a in (DEAD, self.address)])],
            "alias": [right if is_alias else _response(query, chain)],
            "alias with address": [with_address],
            "silent": [],
            "refused": [_response(query, code=5)],
            "server failure": [_response(query, code=2)],
            "unknown host": [_response(query, code=3)],
            "old address": [_response(query, self._address_record(DEAD))],
            "truncated": [_response(query, flags=0x83)],
            "cut": [right[: self._random.randrange(1, len(right))]],
            "empty datagram": [b""],
        }[kind]
