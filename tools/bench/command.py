"""The command: prepares the clients, measures them in turn, shows and keeps the results."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tools.bench import aliases, chart, heap, journal, measure, scaling, table
from tools.bench.clients import CLIENTS, OURS, BenchClient, prepare_client
from tools.bench.peers import PeerUnavailable
from tools.bench.targets import evaluate_targets
from tools.paths import BUILD, ROOT

DOCS = ROOT / "docs" / "bench.md"
JOURNAL_DOCS = ROOT / "docs" / "journal.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- begin: make bench -->\n", "<!-- end: make bench -->\n"
_ROUNDS, _SECONDS = 7, 0.25  # a rate is the best of rounds, each about this long
_QUICK_ROUNDS, _QUICK_SECONDS = 1, 0.02


class _Bench:
    """One run. What fails for a client is a line that says why, and the run goes on."""

    def __init__(self, chosen: list[BenchClient], quick: bool, progress: Progress) -> None:
        self.quick = quick
        self.rounds = _QUICK_ROUNDS if quick else _ROUNDS
        self.seconds = _QUICK_SECONDS if quick else _SECONDS
        self.chosen = chosen
        self.progress = progress
        self.task = progress.add_task("", total=len(chosen) * (self.rounds + 3) + 4)
        self.folders: dict[str, Path] = {}
        self.results: dict[str, Any] = {"clients": {}, "skipped": {}}

    def step(self, what: str) -> None:
        self.progress.update(self.task, advance=1, description=what)

    def run(self, root: Path, port: int) -> dict[str, Any]:
        self.prepare(root)
        self.memory(port)
        self.rates(port)
        ours = self.folders[OURS]
        self.step("cost as the work grows")
        self.results["scaling"] = scaling.measure(ours, self.quick)
        self.step("aliases")
        self.results["aliases"] = aliases.measure(ours, self.quick)
        self.step("the journal")
        self.results["journal"] = journal.measure(ours, port, self.seconds)
        self.step("the smallest heap")
        self.results["heap"] = {"smallest_kb": heap.find_smallest_heap(ours, port)}
        self.results["targets"] = {
            one.name: [one.measured, one.is_met] for one in evaluate_targets(self.results)
        }
        return self.results

    def skip(self, client: BenchClient, why: object) -> None:
        self.results["skipped"][client.name] = str(why)
        self.results["clients"][client.name] = dict.fromkeys(measure.RESULT_KEYS)
        self.folders.pop(client.name, None)

    def prepare(self, root: Path) -> None:
        for client in self.chosen:
            self.step(f"preparing {client.name}")
            folder = root / client.name
            folder.mkdir()
            try:
                prepare_client(client, folder)
            except PeerUnavailable as why:
                self.skip(client, why)
            else:
                self.folders[client.name] = folder
                self.results["clients"][client.name] = dict.fromkeys(measure.RESULT_KEYS)

    def each(self, what: str, port: int) -> list[tuple[BenchClient, dict[str, Any]]]:
        """Run one kind of measurement of each client, in turn."""
        found = []
        for client in self.chosen:
            self.step(f"{what} of {client.name}")
            if client.name in self.folders:
                try:
                    one = measure.measure_client(what, client, self.folders[client.name], port, self.seconds)
                    found.append((client, one))
                except measure.MeasureFailed as why:
                    if client.name == OURS:
                        raise
                    self.skip(client, f"{what}: {why}")
        return found

    def memory(self, port: int) -> None:
        totals = self.results["allocated_total"] = {}
        for what in ("structure", "memory"):
            for client, found in self.each(what, port):
                totals[client.name] = found.pop("total", None)
                self.results["clients"][client.name].update(found)

    def rates(self, port: int) -> None:
        """Rounds, each with all clients in turn: what disturbs the machine meets them alike."""
        rounds: dict[str, list[dict[str, float | None]]] = {}
        for _ in range(self.rounds):
            for client, found in self.each("rates", port):
                rounds.setdefault(client.name, []).append(found)
        for name, several in rounds.items():
            for key in several[0] if name in self.folders else ():
                values = [value for one in several if (value := one[key]) is not None]
                self.results["clients"][name][key] = round(max(values), 1) if values else None


def write_docs(text: str, path: Path = DOCS) -> None:
    """Put the tables between the markers of a page."""
    old = path.read_text()
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(before + BEGIN + "\n" + text + "\n" + END + after)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="one short round: rates mean little")] = False,
    client: Annotated[
        list[str] | None, typer.Option("--client", help=f"only this one and {OURS}; may be repeated")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="print the tables as Markdown")] = False,
    update_docs: Annotated[
        bool, typer.Option("--update-docs", help="put the tables into docs/bench.md and README.md")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="folder for bench.json and bench.png")] = BUILD,
) -> None:
    """Rates, bytes per message and heap of umqtt5 and its peers; also build/bench.json and .png.

    Fails where umqtt5 does not work in a heap of 32 KB, or is not what it is on every machine:
    nothing allocated, one write a packet, eight bytes round an aliased payload.
    """
    wanted = {OURS, *client} if client else {one.name for one in CLIENTS}
    unknown = wanted - {one.name for one in CLIENTS}
    if unknown:
        raise typer.BadParameter(f"no client {', '.join(unknown)}: {', '.join(one.name for one in CLIENTS)}")
    chosen = [one for one in CLIENTS if one.name in wanted]
    errors = Console(stderr=True)
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with (
            tempfile.TemporaryDirectory() as root,
            measure.responder() as port,
            Progress(*columns, console=errors, transient=True) as progress,
        ):
            results = _Bench(chosen, quick, progress).run(Path(root), port)
    except measure.MeasureFailed as why:
        typer.echo(f"{OURS}: {why}", err=True)
        raise typer.Exit(1)
    out.mkdir(exist_ok=True)
    (out / "bench.json").write_text(json.dumps(results, indent=2) + "\n")
    text = table.markdown(results)
    if update_docs:
        write_docs(text)
        write_docs(text.strip().split("\n\n")[0] + "\n", README)
        write_docs(table.journal_markdown(results), JOURNAL_DOCS)
    if markdown:
        typer.echo(text, nl=False)
    else:
        console = Console()
        table.show(results, console if console.is_terminal else Console(width=120))
    try:
        chart.draw_chart(results, out / "bench.png")
        typer.echo(f"written to bench.json and bench.png in {out.name}/", err=True)
    except ImportError:
        typer.echo(f"written to {out.name}/bench.json; the picture needs matplotlib: make bench", err=True)
    raise typer.Exit(
        0 if all(one.is_met for one in evaluate_targets(results) if one.machine_independent) else 1
    )
