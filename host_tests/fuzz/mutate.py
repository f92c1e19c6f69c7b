"""Streams out of the corpus, each from its number alone."""

from __future__ import annotations

import random
from functools import cache

from host_tests.fuzz import corpus
from host_tests.fuzz.fuzz_case import PROFILES, Case, connack_for
from host_tests.interop.reference_packets import make_packet

_SPECIAL = (0, 1, 2, 3, 4, 0x0B, 0x16, 0x20, 0x23, 0x26, 0x7F, 0x80, 0x81, 0xC0, 0xED, 0xFF)
_NAMES = tuple(PROFILES)


# how often a packet of each type is thrown in: what ends most sessions is rare
_OFTEN = {3: 16, 4: 4, 5: 4, 6: 6, 7: 4, 13: 2, 9: 1, 11: 1, 14: 1, 15: 1, 2: 1}


@cache
def _corpus() -> tuple[list[corpus.Exchange], dict[int, list[bytes]]]:
    """The exchanges, and all packets by their type."""
    exchanges = corpus.load()
    packets = sorted({one for exchange in exchanges for one in exchange})
    return exchanges, {kind: [one for one in packets if one[0] >> 4 == kind] for kind in _OFTEN}


def _any(chance: random.Random) -> bytes:
    kind = chance.choices(list(_OFTEN), list(_OFTEN.values()))[0]
    return chance.choice(_corpus()[1][kind])


def _bend(chance: random.Random, body: bytearray) -> None:
    """Change a few bytes: flip, drop, insert, double, splice, or set to a number that is often special."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at = chance.randrange(len(body) + 1)
        what = chance.randrange(7)
        if what == 0:
            del body[at : at + chance.randrange(1, 4)]
        elif what == 1:
            body[at:at] = chance.randbytes(chance.randrange(1, 4))
        elif what == 2:
            body[at:at] = body[at : at + chance.randrange(1, 20)]
        elif what == 3:
            other = _any(chance)
            begin = chance.randrange(len(other))
            body[at : at + chance.randrange(9)] = other[begin : begin + chance.randrange(1, 30)]
        elif at < len(body) and what == 4:
            body[at] ^= 1 << chance.randrange(8)
        elif at < len(body):
            body[at] = chance.choice(_SPECIAL) if what == 5 else chance.randrange(256)


def _stretched(chance: random.Random, profile: str) -> bytes:
    """A PUBLISH whose topic or payload is as long as the buffers, or nearly, or more."""
    rx = PROFILES[profile].get("rx", 160)
    topic = b"t" * (rx - chance.randrange(12)) if chance.random() < 0.3 else b"a/b"
    qos = chance.randrange(3)
    rest = (b"\x00\x05" if qos else b"") + b"\x00" + bytes(rx + chance.randrange(-12, 200))
    return make_packet(0x30 | qos << 1, len(topic).to_bytes(2, "big") + topic + rest)


def _mutated(chance: random.Random, one: bytes) -> bytes:
    if chance.random() < 0.6:
        return one
    at = 2
    while one[at - 1] > 127:
        at += 1
    if chance.random() < 0.2:  # the whole packet, its header too
        whole = bytearray(one)
        _bend(chance, whole)
        return bytes(whole)
    first, body = one[0], bytearray(one[at:])
    if first >> 4 == 3 and chance.random() < 0.3:
        first ^= chance.choice((1, 2, 4, 6, 8))
    _bend(chance, body)
    return make_packet(first, bytes(body))


def generate_case(number: int) -> Case:
    """The stream of this number."""
    chance = random.Random(number)
    profile = chance.choice(_NAMES)
    source = list(chance.choice(_corpus()[0]))
    for _ in range(chance.choice((0, 0, 1, 3, 6))):
        source.insert(chance.randrange(1, len(source) + 1), _any(chance))
    if chance.random() < 0.2:
        del source[chance.randrange(len(source))]
    if chance.random() < 0.1:
        chance.shuffle(source)
    chunks = []
    for place, one in enumerate(source):
        data = _mutated(chance, one)
        if one[0] >> 4 == 3 and chance.random() < 0.1:
            data = _stretched(chance, profile)
        if place == 0 and chance.random() < 0.9:  # what follows would else not be looked at
            data = chance.choice((one, connack_for(profile)))
        if chunks and chance.random() < 0.3:
            chunks[-1] += data
        else:
            chunks.append(data)
    return Case(profile, chance.choice((1, 2, 7, 1000, 1000)), tuple(chunks))
