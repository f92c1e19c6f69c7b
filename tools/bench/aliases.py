"""Benchmark of topic alias policies when topics outnumber aliases: umqtt5, least recently used, FIFO.

A hundred topics share eight aliases. Messages are published to each topic in turn, or with frequencies by
Zipf's law: to the second topic half as often as to the first, to the third a third as often. The bytes of
umqtt5 are measured in the VM. For the other two policies they are calculated for the same sequence of
topics.
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
_MESSAGES, _QUICK_MESSAGES = 10000, 2000
_ALIAS_PROPERTY = 3  # size of the Topic Alias property in bytes


def sequences(messages: int) -> dict[str, bytes]:
    """Return sequences of topic numbers by kind of traffic, the same in every run."""
    source = random.Random(5)
    ranks = list(range(TOPICS))
    source.shuffle(ranks)
    zipf = source.choices(ranks, [1 / (i + 1) for i in range(TOPICS)], k=messages)
    return {"round_robin": bytes(i % TOPICS for i in range(messages)), "zipf": bytes(zipf)}


def least_recently_used(sequence: Sequence[int], topic: int) -> int:
    """Return the bytes saved if a new topic takes the alias of the least recently used one.

    `topic` is the size of a topic in bytes.
    """
    aliased: OrderedDict[int, None] = OrderedDict()
    saved = 0
    for i in sequence:
        hit = i in aliased
        aliased[i] = None
        aliased.move_to_end(i)
        if len(aliased) > ALIASES:
            aliased.popitem(last=False)
        saved += topic * hit - _ALIAS_PROPERTY
    return saved


def rotation(sequence: Sequence[int], topic: int) -> int:
    """Return the bytes saved if a new topic takes the alias that was assigned first (FIFO).

    `topic` is the size of a topic in bytes.
    """
    aliased: OrderedDict[int, None] = OrderedDict()
    saved = 0
    for i in sequence:
        hit = i in aliased
        if not hit:
            aliased[i] = None
        if len(aliased) > ALIASES:
            aliased.popitem(last=False)
        saved += topic * hit - _ALIAS_PROPERTY
    return saved


def measure(folder: Path, quick: bool) -> dict[str, dict[str, float]]:
    """Return the saved bytes for each traffic and policy, as a percentage of the bytes without aliases.

    `folder` contains the compiled umqtt5.
    """
    compile_file(VM_FOLDER, VM_FOLDER / "scaling.py", folder)
    results = {}
    for traffic, sequence in sequences(_QUICK_MESSAGES if quick else _MESSAGES).items():
        path = folder / f"{traffic}.bin"
        path.write_bytes(sequence)
        figures = run_in_vm(f"import scaling; scaling.aliases({str(path)!r})", folder)
        without, topic = figures["0"], figures["topic"]
        saved = {
            "umqtt5": without - figures["8"],
            "least_recently_used": least_recently_used(sequence, topic),
            "rotation": rotation(sequence, topic),
        }
        results[traffic] = {policy: round(100 * n / without, 1) for policy, n in saved.items()}
    return results
