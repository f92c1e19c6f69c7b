"""Command line of `make bench`: measures all clients in turn, prints tables, writes JSON, chart and docs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tools.bench import aliases, chart, heap, journal, measure, recorded, scaling, table
from tools.bench.clients import CLIENTS, MQTT_AS, OURS, SIMPLE, BenchClient, prepare_client
from tools.bench.peers import PeerUnavailable, version, version_in_source
from tools.bench.targets import evaluate_targets
from tools.console import Console
from tools.paths import BUILD, ROOT

DOCS = ROOT / "docs" / "bench.md"
JOURNAL_DOCS = ROOT / "docs" / "journal.md"
BEGIN, END = "<!-- begin: make bench -->\n", "<!-- end: make bench -->\n"
# number of rounds (the best rate of all rounds is reported), duration of each rate measurement in seconds
_ROUNDS, _SECONDS = 7, 0.25
_QUICK_ROUNDS, _QUICK_SECONDS = 1, 0.02


class _Bench:
    """One run of the benchmark. A peer that fails is skipped with a reason; the other clients continue."""

    def __init__(
        self, chosen: list[BenchClient], quick: bool, progress: Progress, clones: dict[str, Path]
    ) -> None:
        """Prepare a run. `clones` has the folders of clients that no package registry has, by name."""
        self.clones = clones
        self.quick = quick
        self.rounds = _QUICK_ROUNDS if quick else _ROUNDS
        self.seconds = _QUICK_SECONDS if quick else _SECONDS
        self.chosen = chosen
        self.progress = progress
        self.task = progress.add_task("", total=len(chosen) * (self.rounds + 3) + 4)
        self.folders: dict[str, Path] = {}
        self.results: dict[str, Any] = {
            "clients": {},
            "skipped": {},
            "versions": {},
            "recorded": {},
        }

    def step(self, description: str) -> None:
        """Advance the progress bar."""
        self.progress.update(self.task, advance=1, description=description)

    def run(self, root: Path, port: int) -> dict[str, Any]:
        """Measure everything, with a folder per client below `root`; returns the content of bench.json.

        `port` is that of the responder. Raises MeasureFailed if a measurement of umqtt5 fails.
        """
        self.prepare(root)
        self.measure_memory(port)
        self.measure_rates(port)
        ours = self.folders[OURS]
        self.step("scaling")
        self.results["scaling"] = scaling.measure(ours, self.quick)
        self.step("topic aliases")
        self.results["aliases"] = aliases.measure(ours, self.quick)
        self.step("journal")
        self.results["journal"] = journal.measure(ours, port, self.seconds)
        self.step("smallest heap")
        self.results["heap"] = {"smallest_kb": heap.find_smallest_heap(ours, port)}
        self.results["targets"] = {
            one.name: [one.measured, one.is_met] for one in evaluate_targets(self.results)
        }
        return self.results

    def skip(self, client: BenchClient, reason: object) -> None:
        """Record why a client is skipped, and discard its figures."""
        self.results["skipped"][client.name] = str(reason)
        self.results["clients"][client.name] = dict.fromkeys(measure.RESULT_KEYS)
        self.folders.pop(client.name, None)

    def prepare(self, root: Path) -> None:
        """Compile each client into its own folder."""
        for client in self.chosen:
            self.step(f"preparing {client.name}")
            clone = self.clones.get(client.name)
            if client.repository and clone is None:
                figures, note = recorded.read_figures(client)
                self.results["clients"][client.name] = figures
                self.results["recorded"][client.name] = note
                continue
            folder = root / client.name
            folder.mkdir()
            try:
                prepare_client(client, folder, clone)
                if client.packages:
                    number = version_in_source(clone / client.packages[0]) if clone else version(client.name)
                    self.results["versions"][client.name] = f"{client.name} {number}"
                    if client.remark:
                        self.results["versions"][client.name] += f" ({client.remark})"
            except PeerUnavailable as error:
                self.skip(client, error)
            else:
                self.folders[client.name] = folder
                self.results["clients"][client.name] = dict.fromkeys(measure.RESULT_KEYS)

    def measure_each(self, kind: str, port: int) -> list[tuple[BenchClient, dict[str, Any]]]:
        """Take one kind of measurement ("structure", "memory" or "rates") of each client, in turn."""
        measured = []
        for client in self.chosen:
            self.step(f"{kind} of {client.name}")
            if client.name in self.folders:
                folder = self.folders[client.name]
                try:
                    figures = measure.measure_client(kind, client, folder, port, self.seconds)
                    measured.append((client, figures))
                except measure.MeasureFailed as error:
                    if client.name == OURS:
                        raise
                    self.skip(client, f"{kind}: {error}")
        return measured

    def measure_memory(self, port: int) -> None:
        """Measure heap, bytes on the wire and socket writes."""
        totals = self.results["allocated_total"] = {}
        for kind in ("structure", "memory"):
            for client, figures in self.measure_each(kind, port):
                totals[client.name] = figures.pop("total", None)
                self.results["clients"][client.name].update(figures)

    def measure_rates(self, port: int) -> None:
        """Measure rates in rounds, each with all clients, so that other load affects all of them."""
        rounds: dict[str, list[dict[str, float | None]]] = {}
        for _ in range(self.rounds):
            for client, figures in self.measure_each("rates", port):
                rounds.setdefault(client.name, []).append(figures)
        for name, several in rounds.items():
            for key in several[0] if name in self.folders else ():
                values = [value for figures in several if (value := figures[key]) is not None]
                self.results["clients"][name][key] = round(max(values), 1) if values else None


def write_docs(text: str, path: Path = DOCS, begin: str = BEGIN, end: str = END) -> None:
    """Replace the text between the comment markers `begin` and `end` of a page."""
    old = path.read_text(encoding="utf-8")
    before, _, rest = old.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(before + begin + "\n" + text + "\n" + end + after, encoding="utf-8")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="one short round; rates are not reliable")] = False,
    client: Annotated[
        list[str] | None, typer.Option("--client", help=f"measure only this client and {OURS}; repeatable")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="print the tables as Markdown")] = False,
    update_docs: Annotated[
        bool,
        typer.Option("--update-docs", help="write the tables into docs/bench.md and docs/journal.md"),
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="folder for bench.json and bench.png")] = BUILD,
    mqtt_as: Annotated[
        Optional[Path],
        typer.Option("--mqtt-as", help="a clone of mqtt_as to measure; default: recorded figures"),
    ] = None,
) -> None:
    """Compare umqtt5 with other MQTT clients: rates, bytes per message, heap. Writes bench.json and .png.

    Exits with 1 if umqtt5 misses a requirement. The requirements do not depend on the computer: nothing
    allocated per message, one write per packet, eight bytes around the payload of an aliased message, and a
    limit of the smallest heap. The goals are only reported.
    """
    clones = {MQTT_AS: mqtt_as} if mqtt_as else {}
    wanted = {OURS, *client} if client else {one.name for one in CLIENTS}
    unknown = wanted - {one.name for one in CLIENTS}
    if unknown:
        names = ", ".join(one.name for one in CLIENTS)
        raise typer.BadParameter(f"unknown client {', '.join(sorted(unknown))}, expected one of {names}")
    chosen = [one for one in CLIENTS if one.name in wanted]
    errors = Console(stderr=True)
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with (
            tempfile.TemporaryDirectory() as root,
            measure.responder() as port,
            Progress(*columns, console=errors, transient=True) as progress,
        ):
            results = _Bench(chosen, quick, progress, clones).run(Path(root), port)
    except measure.MeasureFailed as error:
        typer.echo(f"a measurement of {OURS} failed: {error}", err=True)
        raise typer.Exit(1)
    out.mkdir(exist_ok=True)
    (out / "bench.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    text = table.markdown(results)
    if update_docs:
        write_docs(text)
        write_docs(table.journal_markdown(results), JOURNAL_DOCS)
        for name in clones:
            if results["clients"].get(SIMPLE, {}).get("qos0_per_s") and name not in results["skipped"]:
                recorded.write_figures(name, results["versions"][name].split()[1], results)
    if markdown:
        typer.echo(text, nl=False)
    else:
        console = Console()
        table.show(results, console if console.is_terminal else Console(width=120))
    try:
        chart.draw_chart(results, out / "bench.png")
        typer.echo(f"written: {out.name}/bench.json and {out.name}/bench.png", err=True)
    except ImportError:
        typer.echo(f"written: {out.name}/bench.json. No chart without matplotlib. Try: make bench", err=True)
    missed = [one.name for one in evaluate_targets(results) if one.is_required and not one.is_met]
    for name in missed:
        errors.print(f"not met: {name}", style="red", soft_wrap=True)
    raise typer.Exit(1 if missed else 0)
