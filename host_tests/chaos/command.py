"""The command line of the chaos test: many lives in parallel, the table of their figures, and replays."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from host_tests.chaos.device import measure_own_heap
from host_tests.chaos.life import build_image, run_life
from host_tests.chaos.minimise import minimise
from host_tests.chaos.recorder import Result
from host_tests.chaos.world import HOUR

_WEEK = 7
_WEEK_EVERY = 15  # days


def list_lives(days: int) -> Iterator[tuple[int, int]]:
    """Yield (first day, number of days) of each life; in the middle of 15 days, a life lasts a week."""
    day = 1
    while day <= days:
        length = _WEEK if day % _WEEK_EVERY == 8 and day + _WEEK - 1 <= days else 1
        yield day, length
        day += length


def run_lives(seed: int, lives: Sequence[tuple[int, int]], jobs: int, niceness: int = 0) -> Iterator[Result]:
    """Run lives in parallel; yield their results in the order in which they end."""
    for board in ("esp32", "rpi_pico_w"):
        build_image(board)  # before the processes start, which would all build it
    measure_own_heap()
    with ProcessPoolExecutor(jobs, initializer=os.nice, initargs=(niceness,)) as pool:
        # the long lives first, so that no processor is idle at the end
        ordered = sorted(lives, key=lambda life: -life[1])
        futures = [pool.submit(run_life, seed, day, length) for day, length in ordered]
        for future in as_completed(futures):
            yield future.result()


def make_table(title: str, counts: Counter[str]) -> Table:
    """Return a table of figures, in two columns of pairs."""
    table = Table(title=title, title_justify="left", show_header=False)
    items = sorted(counts.items())
    half = (len(items) + 1) // 2
    for left, right in zip(items[:half], [*items[half:], ("", 0)]):
        table.add_row(left[0], str(left[1]), right[0], str(right[1] or ""))
    return table


def print_summary(console: Console, results: Sequence[Result], wall_seconds: float) -> None:
    """Print the figures of all lives and their findings."""
    faults: Counter[str] = Counter()
    commands: Counter[str] = Counter()
    updates: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for result in results:
        faults += result.faults
        commands += result.commands
        updates += result.updates
        ends += result.ends
    ends.pop("over", None)
    console.print(make_table("Faults", faults))
    console.print(make_table("Commands", commands))
    console.print(make_table("Offers of updates", updates))
    console.print(make_table("Ends of the program", ends))
    days = sum(result.days for result in results)
    console.print(
        f"{days:g} device-days in {len(results)} lives, {sum(result.boots for result in results)} starts, "
        f"{sum(result.connects for result in results)} connections, "
        f"{sum(result.messages for result in results)} messages, "
        f"{sum(result.answers for result in results)} responses, {sum(faults.values())} faults, "
        f"{sum(commands.values())} commands, {sum(updates.values())} updates; {wall_seconds:.0f} s"
    )
    findings = [finding for result in sorted(results, key=lambda r: r.day) for finding in result.findings]
    for finding in findings:
        console.print(f"FINDING {finding}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{len(findings)} findings")


def _replay(seed: int, day: int, days: int, only: str | None, until: float | None, shrink: bool) -> int:
    lengths = dict(list_lives(max(days, day + _WEEK - 1)))
    if day not in lengths:
        typer.echo(
            f"day {day} is within another life. The lives begin at the days {sorted(lengths)}", err=True
        )
        return 2
    numbers = None if only is None else [int(number) for number in only.split(",") if number]
    until_ms = None if until is None else int(until * HOUR)
    if shrink:
        for line in minimise(seed, day, lengths[day]):
            print(line, flush=True)
        return 0
    result = run_life(seed, day, lengths[day], is_verbose=True, only=numbers, until=until_ms)
    for finding in result.findings:
        print(f"FINDING {finding}")
    return int(bool(result.findings))


def main(
    days: Annotated[int, typer.Option(help="number of device-days")] = 30,
    seed: Annotated[int, typer.Option(help="seed of all random numbers")] = 1,
    day: Annotated[Optional[int], typer.Option(help="replay the life that begins at this day")] = None,
    only: Annotated[
        Optional[str], typer.Option(help="replay only the faults with these numbers: 3,7")
    ] = None,
    until: Annotated[Optional[float], typer.Option(help="end the replay after this time in hours")] = None,
    shrink: Annotated[
        bool, typer.Option("--minimise", help="find the fewest faults that cause the findings of --day")
    ] = False,
    jobs: Annotated[int, typer.Option(help="number of processes")] = os.cpu_count() or 1,
    niceness: Annotated[int, typer.Option("--nice", help="niceness of the processes")] = 5,
) -> None:
    """Run simulated devices through random faults, and check that they stay safe and can be reached."""
    if day is not None:
        raise typer.Exit(_replay(seed, day, days, only, until, shrink))
    console = Console()
    lives = list(list_lives(days))
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    results: list[Result] = []
    started = time.monotonic()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("device-days", total=days)
        for result in run_lives(seed, lives, jobs, niceness):
            results.append(result)
            progress.update(task, advance=result.days)
            for finding in result.findings:
                progress.console.print(f"FINDING {finding}", markup=False, highlight=False, soft_wrap=True)
    print_summary(console, results, time.monotonic() - started)
    raise typer.Exit(int(any(result.findings for result in results)))
