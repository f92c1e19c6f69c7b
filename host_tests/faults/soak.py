"""`make soak`: a long run of a device whose network, name servers and broker fail at random."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.progress import Progress

from host_tests.faults.soak_run import HEAP, SoakRun
from tools.paths import BUILD


def plot(run: SoakRun) -> str:
    """Draw the free heap over time to build/soak.png, and return that path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = run.samples()
    figure, heap = pyplot.subplots(figsize=(9, 4), layout="constrained")
    heap.plot([row[0] for row in rows], [row[1] for row in rows], label="free heap after gc.collect()")
    heap.set_ylim(bottom=0)
    heap.set_xlabel("seconds")
    heap.set_ylabel("bytes")
    for i in range(1, len(rows)):
        if rows[i][2] != rows[i - 1][2]:
            heap.axvline(rows[i][0], color="lightgray", linewidth=0.6, zorder=0)
    link = run.report["link"]
    heap.set_title(
        f"{link['messages'] + link['messages_received']:,} messages, "
        f"{link['connects']} connections (gray lines), {HEAP} of heap"
    )
    heap.legend(loc="lower right")
    path = BUILD / "soak.png"
    figure.savefig(path, dpi=110)
    return f"{BUILD.name}/{path.name}"


def main(
    seconds: Annotated[float, typer.Option(help="duration of the faults in seconds")] = 600,
    seed: Annotated[int, typer.Option(help="seed of the random faults and calls")] = 1,
    longest_poll: Annotated[int, typer.Option(help="limit for each poll(50) in ms")] = 2000,
    with_plot: Annotated[bool, typer.Option("--plot/--no-plot", help="draw build/soak.png")] = True,
    log: Annotated[Optional[Path], typer.Option(help="file to which each packet is written")] = None,
) -> None:
    """Run a device while network, DNS servers and broker fail. Writes build/soak.json and soak.png."""
    with Progress() as progress, open(log or os.devnull, "w") as packets:
        run = SoakRun(seed, seconds, longest_poll, packets)
        task = progress.add_task("seconds", total=seconds)
        run.run(lambda elapsed: progress.update(task, completed=elapsed))
    failures = run.failures()
    BUILD.mkdir(exist_ok=True)
    result = {**run.figures(), "violations": failures, "samples": run.samples()}
    (BUILD / "soak.json").write_text(json.dumps(result, indent=2) + "\n")
    for name, value in run.figures().items():
        typer.echo(f"{name}: {json.dumps(value)}")
    free = [row[1] for row in run.samples()]
    if free:
        typer.echo(
            f"free heap: {free[0]} bytes at the start, {min(free)} at the minimum, {free[-1]} at the end"
        )
    typer.echo("written to build/soak.json" + (f" and {plot(run)}" if with_plot and run.report else ""))
    typer.echo(f"violations: {len(failures)}")
    if failures:
        typer.echo("\n".join(failures), err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
