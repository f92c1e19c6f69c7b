"""`make soak`: a long run of a device with 64 KB of heap on a network with random faults."""

from __future__ import annotations

import json
import random
import secrets
from typing import Annotated

import typer
from rich.progress import Progress

from host_tests.faults.device_run import DeviceRun
from host_tests.faults.proxy import Fault, fault_proxy
from tools import broker
from tools.paths import BUILD

HEAP = "64k"


def random_faults(seed: int) -> object:
    """Return a function that takes the number of a connection and returns a random fault."""
    numbers = random.Random(seed)

    def choose(number: int) -> Fault:
        kind = numbers.randrange(8)
        after = numbers.randrange(200, 60_000)
        if kind < 5:
            return Fault(after_bytes=after, then=("reset", "close", "stall", "swallow", "reset")[kind])
        if kind == 5:
            return Fault(after_bytes=after, chunk_size=numbers.choice((1, 3, 50)))
        if kind == 6:
            return Fault(after_bytes=after, jitter=0.01)
        return Fault(accept_only=numbers.random() < 0.3, after_bytes=after * 4)

    return choose


def soak(messages: int, seed: int, seconds: float, show: bool) -> DeviceRun:
    """Run a device that sends and receives `messages` / 6 messages at each QoS, for at most `seconds`."""
    count = max(1, messages // 6)
    choose = random_faults(seed)
    with broker.Mosquitto("set_tcp_nodelay true", "max_queued_messages 0") as mosquitto:
        with fault_proxy(mosquitto.address, choose, seed) as proxy, Progress(disable=not show) as progress:  # type: ignore[arg-type]
            task = progress.add_task("messages", total=6 * count)
            run = DeviceRun(mosquitto.address, proxy, "s" + secrets.token_hex(4), count)
            run.run(
                stop_faults_after=seconds * 0.8,
                seconds=seconds,
                heap=HEAP,
                report_interval_ms=500,
                progress=lambda n: progress.update(task, completed=n),
            )
    return run


def samples(run: DeviceRun) -> list[tuple[float, int, int]]:
    """Return (seconds since the start, free heap in bytes, number of connections) for each report."""
    rows = [line.split() for line in run.lines if line.startswith("heap ")]
    return [(int(row[1]) / 1000, int(row[2]), int(row[4])) for row in rows]


def failures(run: DeviceRun, messages: int) -> list[str]:
    """Return one line for each failure: time limit exceeded, messages lost or duplicated, heap use grown."""
    count = max(1, messages // 6)
    report, lines = run.report, []
    if not report["stopped"]:
        lines.append("the run did not finish in time")
    if set(run.received[1]) != set(range(count)) or report["received"][1][0] != count:
        lines.append("QoS 1: messages were lost")
    if run.received[2] != dict.fromkeys(range(count), 1) or report["received"][2][:2] != [count, 0]:
        lines.append("QoS 2: messages were lost or duplicated")
    first, last = report["heap"]
    if last > first + 512:
        lines.append(f"the heap has grown from {first} to {last} bytes")
    return lines


def plot(run: DeviceRun) -> str:
    """Draw the free heap over time to build/soak.png, and return that path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = samples(run)
    figure, heap = pyplot.subplots(figsize=(9, 4), layout="constrained")
    heap.plot([row[0] for row in rows], [row[1] for row in rows], label="free heap after gc.collect()")
    heap.set_ylim(bottom=0)
    heap.set_xlabel("seconds")
    heap.set_ylabel("bytes")
    for i in range(1, len(rows)):
        if rows[i][2] != rows[i - 1][2]:
            heap.axvline(rows[i][0], color="lightgray", linewidth=0.6, zorder=0)
    heap.set_title(
        f"{run.report['messages'] + run.report['messages_received']:,} messages, "
        f"{run.report['connects']} connections (gray lines), {HEAP} of heap"
    )
    heap.legend(loc="lower right")
    path = BUILD / "soak.png"
    figure.savefig(path, dpi=110)
    return f"{BUILD.name}/{path.name}"


def main(
    messages: Annotated[int, typer.Option(help="number of messages in total")] = 100_000,
    seed: Annotated[int, typer.Option(help="seed of the random faults")] = 1,
    seconds: Annotated[float, typer.Option(help="time limit in seconds")] = 1800,
) -> None:
    """Send messages in both directions at each QoS over faulty TCP. Writes build/soak.json and soak.png."""
    run = soak(messages, seed, seconds, show=True)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "soak.json").write_text(json.dumps({**run.report, "samples": samples(run)}, indent=2) + "\n")
    typer.echo(json.dumps(run.report, indent=2))
    free = [row[1] for row in samples(run)]
    if free:
        typer.echo(
            f"free heap: {free[0]} bytes at the start, {min(free)} at the minimum, {free[-1]} at the end"
        )
    typer.echo(f"longest poll(50): {run.report['longest_poll'] / 1000:.1f} ms")
    typer.echo(f"written to build/soak.json and {plot(run)}")
    if lines := failures(run, messages):
        typer.echo("\n".join(lines), err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
