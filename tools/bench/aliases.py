"""How much the alias policy saves where topics outnumber aliases, beside two other policies.

A hundred topics over eight aliases: all in turn, and by Zipf's law, where the second topic comes half
as often as the first, the third a third as often. Ours is measured in the VM; least recently used and
plain rotation are counted here, for the same topics in the same order.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from tools.bench.clients import VM_FOLDER, compile_file
from tools.bench.measure import run_in_vm

TOPICS = 100
ALIASES = 8
_MESSAGES, _QUICK = 10000, 2000
_ALIAS = 3  # bytes of the property


def sequences(messages: int) -> dict[str, bytes]:
    """Topic numbers in the order of publishing, by kind of traffic; the same in every run."""
    source = random.Random(5)
    ranks = list(range(TOPICS))
    source.shuffle(ranks)
    zipf = source.choices(ranks, [1 / (i + 1) for i in range(TOPICS)], k=messages)
    return {"round_robin": bytes(i % TOPICS for i in range(messages)), "zipf": bytes(zipf)}


def least_recently_used(sequence: Sequence[int], topic: int) -> int:
    """Bytes that this policy saves with topics of `topic` bytes."""
    held: OrderedDict[int, None] = OrderedDict()
    saved = 0
    for i in sequence:
        hit = i in held
        held[i] = None
        held.move_to_end(i)
        if len(held) > ALIASES:
            held.popitem(last=False)
        saved += topic * hit - _ALIAS
    return saved


def rotation(sequence: Sequence[int], topic: int) -> int:
    """The same where each topic that has no alias takes the next in turn."""
    held: OrderedDict[int, None] = OrderedDict()
    saved = 0
    for i in sequence:
        hit = i in held
        if not hit:
            held[i] = None
        if len(held) > ALIASES:
            held.popitem(last=False)
        saved += topic * hit - _ALIAS
    return saved


def measure(folder: Path, quick: bool) -> dict[str, dict[str, float]]:
    """Bytes saved in per cent of what goes out without aliases, by traffic and policy."""
    compile_file(VM_FOLDER, VM_FOLDER / "scaling.py", folder)
    results = {}
    for traffic, sequence in sequences(_QUICK if quick else _MESSAGES).items():
        path = folder / f"{traffic}.bin"
        path.write_bytes(sequence)
        found = run_in_vm(f"import scaling; scaling.aliases({str(path)!r})", folder)
        plain, topic = found["0"], found["topic"]
        saved = {
            "umqtt5": plain - found["8"],
            "least_recently_used": least_recently_used(sequence, topic),
            "rotation": rotation(sequence, topic),
        }
        results[traffic] = {policy: round(100 * n / plain, 1) for policy, n in saved.items()}
    return results
