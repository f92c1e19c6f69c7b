"""Finds the fewest faults that cause a finding: repeats the life without some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from host_tests.chaos.invariants import kind_of
from host_tests.chaos.life import Life, run_life
from host_tests.chaos.recorder import Finding
from host_tests.chaos.world import HOUR, MINUTE

_MAX_RUNS = 40


def minimise(seed: int, day: int, days: float) -> Iterator[str]:
    """Yield a line with the command that replays each finding of a life with the fewest faults."""
    for finding in run_life(seed, day, days).findings:
        numbers = _reduce(seed, day, days, finding)
        options = f"--seed {seed} --day {day} --until {(finding.time + MINUTE) / HOUR:.2f}"
        yield f"{finding.text}\n    python -m host_tests.chaos {options} --only {','.join(map(str, numbers))}"


def _reduce(seed: int, day: int, days: float, finding: Finding) -> list[int]:
    runs = 0

    def is_caused_by(numbers: Sequence[int]) -> bool:
        nonlocal runs
        runs += 1
        found = run_life(seed, day, days, only=numbers, until=finding.time + MINUTE).findings
        return any(kind_of(other.text) == kind_of(finding.text) for other in found)

    numbers = list(range(_count_faults(seed, day, days, finding.time)))
    if is_caused_by([]):
        return []
    # the last faults are the most likely causes
    size = 1
    while size < len(numbers) and runs < _MAX_RUNS:
        if is_caused_by(numbers[-size:]):
            numbers = numbers[-size:]
            break
        size *= 2
    for number in list(numbers):
        if runs < _MAX_RUNS and len(numbers) > 1:
            fewer = [other for other in numbers if other != number]
            if is_caused_by(fewer):
                numbers = fewer
    return numbers


def _count_faults(seed: int, day: int, days: float, until: int) -> int:
    life = Life(seed, day, days, Path())
    return sum(fault.begins <= until for episode in life.schedule for fault in episode.faults)
