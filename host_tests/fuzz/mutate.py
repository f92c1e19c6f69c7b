"""Generate fuzz cases: packets of the corpus, mutated by a random generator seeded with the stream number."""

from __future__ import annotations

import random
from functools import cache

from host_tests.fuzz import corpus
from host_tests.fuzz.fuzz_case import PROFILES, Case, connack_for
from host_tests.interop.reference_packets import make_packet

_SPECIAL = (0, 1, 2, 3, 4, 0x0B, 0x16, 0x20, 0x23, 0x26, 0x7F, 0x80, 0x81, 0xC0, 0xED, 0xFF)
_NAMES = tuple(PROFILES)
# weight of each packet type when a random packet is inserted: types that end most sessions are rare
_WEIGHTS = {3: 16, 4: 4, 5: 4, 6: 6, 7: 4, 13: 2, 9: 1, 11: 1, 14: 1, 15: 1, 2: 1}


@cache
def _corpus() -> tuple[list[corpus.Exchange], dict[int, list[bytes]]]:
    """Return all exchanges, and their packets by packet type."""
    exchanges = corpus.load()
    packets = sorted({packet for exchange in exchanges for packet in exchange})
    return exchanges, {kind: [one for one in packets if one[0] >> 4 == kind] for kind in _WEIGHTS}


def _random_packet(rng: random.Random) -> bytes:
    kind = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    return rng.choice(_corpus()[1][kind])


def _mutate_bytes(rng: random.Random, body: bytearray) -> None:
    """Change bytes in place: delete, insert, repeat, splice, flip a bit, or set a special or random value."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        start = rng.randrange(len(body) + 1)
        operation = rng.randrange(7)
        if operation == 0:
            del body[start : start + rng.randrange(1, 4)]
        elif operation == 1:
            body[start:start] = rng.randbytes(rng.randrange(1, 4))
        elif operation == 2:
            body[start:start] = body[start : start + rng.randrange(1, 20)]
        elif operation == 3:
            other = _random_packet(rng)
            other_start = rng.randrange(len(other))
            body[start : start + rng.randrange(9)] = other[other_start : other_start + rng.randrange(1, 30)]
        elif start < len(body) and operation == 4:
            body[start] ^= 1 << rng.randrange(8)
        elif start < len(body):
            body[start] = rng.choice(_SPECIAL) if operation == 5 else rng.randrange(256)


def _long_publish(rng: random.Random, profile: str) -> bytes:
    """Return a PUBLISH whose topic or payload is about as long as the receive buffer, or longer."""
    rx = PROFILES[profile].get("rx", 160)
    topic = b"t" * (rx - rng.randrange(12)) if rng.random() < 0.3 else b"a/b"
    qos = rng.randrange(3)
    rest = (b"\x00\x05" if qos else b"") + b"\x00" + bytes(rx + rng.randrange(-12, 200))
    return make_packet(0x30 | qos << 1, len(topic).to_bytes(2, "big") + topic + rest)


def _mutate_packet(rng: random.Random, packet: bytes) -> bytes:
    if rng.random() < 0.6:
        return packet
    start = 2
    while packet[start - 1] > 127:
        start += 1
    if rng.random() < 0.2:  # mutate the fixed header, too
        whole = bytearray(packet)
        _mutate_bytes(rng, whole)
        return bytes(whole)
    first, body = packet[0], bytearray(packet[start:])
    if first >> 4 == 3 and rng.random() < 0.3:
        first ^= rng.choice((1, 2, 4, 6, 8))
    _mutate_bytes(rng, body)
    return make_packet(first, bytes(body))


def generate_case(number: int) -> Case:
    """Return the fuzz case of this stream number; it is the same in each run."""
    rng = random.Random(number)
    profile = rng.choice(_NAMES)
    source = list(rng.choice(_corpus()[0]))
    for _ in range(rng.choice((0, 0, 1, 3, 6))):
        source.insert(rng.randrange(1, len(source) + 1), _random_packet(rng))
    if rng.random() < 0.2:
        del source[rng.randrange(len(source))]
    if rng.random() < 0.1:
        rng.shuffle(source)
    chunks = []
    for index, packet in enumerate(source):
        data = _mutate_packet(rng, packet)
        if packet[0] >> 4 == 3 and rng.random() < 0.1:
            data = _long_publish(rng, profile)
        if index == 0 and rng.random() < 0.9:  # without a valid CONNACK, the client reads no further
            data = rng.choice((packet, connack_for(profile)))
        if chunks and rng.random() < 0.3:
            chunks[-1] += data
        else:
            chunks.append(data)
    return Case(profile, rng.choice((1, 2, 7, 1000, 1000)), tuple(chunks))
