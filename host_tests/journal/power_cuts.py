"""Random power cuts of a device with a journal on simulated flash: `make power-cuts CUTS=100000 SEED=7`.

Each history is a device over several boots, and each boot ends at a random step, such as a write or a sync
(see `power_cycles` and `simulated_flash`). No accepted message may be lost, no QoS 2 message may be delivered
twice, and the order must be kept.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Optional

import typer
from power_cycles import SimulatedFlash, cut_at_every_step, random_history
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from simulation import restore_real_clock

_BATCH = 25  # number of histories per batch
_BOOTS = 8  # number of boots per history
# additional faults: (the broker loses its session, flash writes fail)
KINDS = ((False, False), (False, False), (True, False), (False, True), (True, True))


@dataclass
class Result:
    """The result of some histories; `findings` has the seed and the error of each history that failed."""

    cuts: int = 0
    rotations: int = 0
    messages: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, other: Result) -> None:
        self.cuts += other.cuts
        self.rotations += other.rotations
        self.messages += other.messages
        self.findings += other.findings


def histories(seed: int, count: int) -> Result:
    """Run the histories with seeds from `seed` on."""
    result = Result()
    for number in range(seed, seed + count):
        broker_loses_session, failing = KINDS[number % len(KINDS)]
        try:
            history = random_history(number, _BOOTS, broker_loses_session, failing)
        except Exception as error:
            result.findings.append(f"SEED={number}: {error!r}"[:400])
        else:
            result.cuts += history.cuts
            result.rotations += history.rotations
            result.messages += history.next + history.sent
    _restore_modules()
    return result


def cut_at_every_position(every: int) -> tuple[int, set[int]]:
    """Run one workload with a power cut at every step; return the number of steps and the record kinds."""
    try:
        return cut_at_every_step(every)
    finally:
        _restore_modules()


def _restore_modules() -> None:
    restore_real_clock()
    SimulatedFlash.restore()


def _histories(seed_and_count: tuple[int, int]) -> Result:
    return histories(*seed_and_count)


def results(seed: int, cuts: int) -> Iterator[Result]:
    """Yield the results of all batches, which run in one process per core."""
    batches = [(seed + i, _BATCH) for i in range(0, -(-cuts // _BOOTS), _BATCH)]
    with multiprocessing.Pool(os.cpu_count() or 1) as pool:
        yield from pool.imap_unordered(_histories, batches)


def main(
    cuts: Annotated[int, typer.Option(help="number of power cuts", min=1)] = 100_000,
    seed: Annotated[Optional[int], typer.Option(help="first seed; default: random")] = None,
) -> None:
    """Cut the power of a simulated device with a journal at random points."""
    console = Console()
    seed = random.randrange(1 << 28) if seed is None else seed
    start = time.monotonic()
    total = Result()
    bar = Progress(
        TextColumn("{task.completed:.0f} cuts"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=cuts)
        for result in results(seed, cuts):
            total.add(result)
            bar.update(task, completed=total.cuts)
    for finding in total.findings[:10]:
        console.print(f"[red]{finding}[/]", highlight=False)
    console.print(
        f"{total.cuts} cuts from seed {seed} on in {time.monotonic() - start:.0f} s: "
        f"{total.messages} messages, {total.rotations} log rotations, {len(total.findings)} findings"
    )
    raise typer.Exit(1 if total.findings else 0)


if __name__ == "__main__":
    typer.run(main)
