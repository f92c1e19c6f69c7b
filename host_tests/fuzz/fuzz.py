"""Fuzzer: feed mutated streams to the client (`make fuzz SECONDS=60`, `make fuzz STREAMS=1000000 SEED=7`).

For any input, the client either stays connected or sends DISCONNECT. It raises nothing, writes only valid
packets of a client, grows no buffer, and works again after it reconnects. `fuzz_case` checks these rules.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from simulation import restore_real_clock

from host_tests.fuzz import minimise, mutate

_BATCH = 500
_MAX_FINDINGS = 10  # number of findings that ends the run: most have the same cause


@dataclass
class Result:
    """The result of some streams; `findings` has the number and the failure of each stream that failed."""

    streams: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Result) -> None:
        self.streams += other.streams
        self.endings += other.endings
        self.findings += other.findings


def batch(first: int, count: int = _BATCH) -> Result:
    """Run the streams with numbers from `first` on."""
    result = Result(count)
    for number in range(first, first + count):
        case = mutate.generate_case(number)
        try:
            result.endings[minimise.run_case(case)] += 1
        except Exception:
            result.findings.append((number, minimise.failure(case) or "did not fail again"))
    restore_real_clock()
    return result


def _batch(first_and_count: tuple[int, int]) -> Result:
    return batch(*first_and_count)


def _batches(seed: int, streams: int, seconds: float) -> Iterator[tuple[int, int]]:
    ends = time.monotonic() + seconds
    done = 0
    while done < streams if streams else time.monotonic() < ends:
        count = min(_BATCH, streams - done) if streams else _BATCH
        yield seed + done, count
        done += count


def results(seed: int, streams: int, seconds: float) -> Iterator[Result]:
    """Yield results in the order of the batches, which run in one process per core."""
    jobs = os.cpu_count() or 1
    with multiprocessing.Pool(jobs) as pool:
        waiting = []
        batches = _batches(seed, streams, seconds)
        # queue only a few batches ahead, because `_batches` checks the time when the next one is queued
        for item in batches:
            waiting.append(pool.apply_async(_batch, (item,)))
            while len(waiting) >= 2 * jobs:
                yield waiting.pop(0).get()
        for pending in waiting:
            yield pending.get()


def print_result(console: Console, result: Result, seed: int, elapsed: float) -> None:
    table = Table("ending", "streams", title=f"{result.streams} streams from {seed} on in {elapsed:.0f} s")
    for ending, count in result.endings.most_common():
        table.add_row(ending, str(count))
    console.print(table)
    for number, why in result.findings:
        path = minimise.save(minimise.minimise(mutate.generate_case(number)), number, why)
        console.print(f"[red]stream {number}[/]: {why}", highlight=False)
        console.print(f"  replay, minimised: make fuzz REPLAY={path}", highlight=False, soft_wrap=True)
        console.print(f"  replay the original: make fuzz SEED={number} STREAMS=1", highlight=False)


def replay_case(console: Console, path: Path) -> int:
    try:
        case = minimise.load(path)
    except (OSError, ValueError) as error:
        console.print(f"[red]{error}[/]")
        return 2
    why = minimise.failure(case)
    console.print(f"[red]{why}[/]" if why else f"{path}: no failure, ending: {minimise.run_case(case)}")
    return 1 if why else 0


def main(
    seconds: Annotated[float, typer.Option(help="duration in seconds", min=0)] = 60,
    streams: Annotated[int, typer.Option(help="number of streams, instead of a duration", min=0)] = 0,
    seed: Annotated[Optional[int], typer.Option(help="first stream number; default: random")] = None,
    replay: Annotated[Optional[Path], typer.Option(help="file of a saved stream to run again")] = None,
) -> None:
    """Feed mutated streams to the client."""
    console = Console()
    if replay:
        raise typer.Exit(replay_case(console, replay))
    seed = random.randrange(1 << 32) if seed is None else seed
    start = time.monotonic()
    total = Result()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=streams or seconds)
        for result in results(seed, streams, seconds):
            total.add(result)
            elapsed = time.monotonic() - start
            rate = f"{total.streams} streams, {total.streams / elapsed:.0f} per second, "
            progress.update(
                task,
                completed=total.streams if streams else elapsed,
                description=rate + f"{len(total.findings)} findings",
            )
            if len(total.findings) >= _MAX_FINDINGS:
                break
    print_result(console, total, seed, time.monotonic() - start)
    raise typer.Exit(1 if total.findings else 0)


if __name__ == "__main__":
    typer.run(main)
