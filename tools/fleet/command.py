"""The commands of `make fleet`."""

from __future__ import annotations

import contextlib
import json
import resource
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tools.board import definition
from tools.errors import UserError
from tools.fleet import description, secret_files, simulation
from tools.fleet.device_files import build_device_files
from tools.fleet.generate import generate_files, secrets_folder
from tools.fleet.load_client import LoadClient
from tools.fleet.load_test import LoadProfile, LoadTest, RunStatus
from tools.fleet.report import Report, latency_percentiles
from tools.fleet.store import FleetStore
from tools.paths import BUILD
from tools.vm import process
from umqtt5 import MQTTError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

File = Annotated[Path, typer.Option("--file", help="the description")]
Out = Annotated[Path, typer.Option("--out", help="where each device's files go")]
_FILE = Path("fleet.toml")
_OUT = BUILD / "fleet"
_REPORT = BUILD / "fleet.json"
_FIRST = """\
# A fleet: many devices from one description. `make fleet ARGS=generate` writes what each of them gets.
# docs/fleet.md has every field.

name = {name}     # with the number in it; 1 to 23 letters, digits, - or _
count = {count}
board = {board}     # one of the folders of boards/
prefix = "umqtt5"     # where the topics begin
health = 60     # s

[broker]
host = {host}
tls = true     # the fleet's own authority signs for the broker, unless `ca` names another
{wifi}
[credentials]
password = true     # a random one for each device
certificate = true     # and a client certificate
{lists}
# what is different with one of them
# [[devices]]
# number = 7
# health = 10
"""


@app.callback()
def _fleet() -> None:
    """Many devices from one description: flashed onto boards, or simulated for load tests."""


@app.command()
def init(
    board_key: Annotated[str, typer.Option("--board", help="a folder of boards/")] = "esp32",
    count: Annotated[int, typer.Option(min=1)] = 10,
    name: Annotated[str, typer.Option(help="with the number in it")] = "greenhouse-{number:03}",
    host: Annotated[str, typer.Option(help="the broker, as the devices reach it")] = "192.168.1.10",
    file: File = _FILE,
    force: Annotated[bool, typer.Option("--force", help="even where there is one")] = False,
) -> None:
    """Write a description to begin with."""
    target = definition.load_board(board_key)
    if file.exists() and not force:
        raise UserError(f"{file}: is there already: change it by hand, or say --force")
    wifi = '\n[wifi]\nssid = "home"\npassword = "change me"\n' if target.has_wifi else ""
    lists = "".join(f'\n[[sensors]]\nkind = "{kind}"\nperiod = 30\n' for kind in target.readings)
    lists += "".join(f'\n[[actuators]]\nname = "{name}"\npin = "{name}"\n' for name in target.outputs)
    said = {"name": name, "board": board_key, "host": host}
    # a string of JSON is one of TOML
    quoted = {field: json.dumps(value) for field, value in said.items()}
    text = _FIRST.format(count=count, wifi=wifi, lists=lists, **quoted)
    file.parent.mkdir(parents=True, exist_ok=True)
    secret_files.write_file(file, text)
    description.load_fleet(file)
    typer.echo(f"{file}: change it to what you have, then `make fleet ARGS=generate`")


@app.command()
def generate(file: File = _FILE, out: Out = _OUT) -> None:
    """Write each device's config, keys and certificates, and the broker's files.

    Run it again: keys and passwords stay, and only what has changed is written.
    """
    console = Console(soft_wrap=True)
    made = generate_files(description.load_fleet(file), file, out, console)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    for name, files in made.changed.items():
        say(f"{name}: changed: {', '.join(files)}")
    for name in made.removed:
        say(f"{name}: no longer in {file}: removed")
    if made.broker_files:
        say(f"broker: changed: {', '.join(made.broker_files)}: copy them to the broker")
    say(
        f"{out}: {len(made.new)} new, {len(made.changed)} changed, {len(made.removed)} gone, "
        f"{len(made.same)} as they were"
    )
    if made.new:
        say(f"keep a copy of {secrets_folder(file)}: the devices' keys and passwords are nowhere else")


@app.command("list")
def list_devices(file: File = _FILE, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """The devices, and which of them were flashed with what they have now."""
    fleet = description.load_fleet(file)
    store = FleetStore(secrets_folder(file))
    rows = []
    for one in build_device_files(fleet, store, file):
        flashed = store.flashed_at(one.name)
        state = "not flashed" if not flashed else flashed
        if flashed and store.flashed_digest(one.name) != one.digest:
            state = f"{flashed}, changed since"
        rows.append({"name": one.name, "board": one.target.key, "state": state})
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(*row.values())
    Console(soft_wrap=True, highlight=False).print(table)


@app.command()
def flash(
    names: Annotated[Optional[list[str]], typer.Argument(help="only these devices")] = None,
    file: File = _FILE,
    out: Out = _OUT,
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
    firmware: Annotated[Optional[Path], typer.Option(help="MicroPython from this file")] = None,
    reflash: Annotated[bool, typer.Option("--reflash", help="also those that were flashed")] = False,
) -> None:
    """One board after the other: waits for it, flashes it, prints its label.

    A run that was interrupted goes on where it was: what is flashed is noted.
    """
    from tools.fleet.flash import flash_all, select_devices  # needs the packages of a board

    console = Console(soft_wrap=True)
    fleet = description.load_fleet(file)
    generate_files(fleet, file, out, console)
    store = FleetStore(secrets_folder(file))
    wanted = select_devices(build_device_files(fleet, store, file), store, names or [], reflash)
    if not wanted:
        console.print("all are flashed; --reflash flashes them again")
        return
    flash_all(wanted, out, store, port, firmware, console)
    console.print(f"{len(wanted)} flashed", highlight=False)


@app.command()
def run(
    count: Annotated[Optional[int], typer.Option(min=1, help="so many, without a description")] = None,
    broker_choice: Annotated[
        str,
        typer.Option("--broker", help="iotcore, mosquitto, mqtt://[user:password@]host[:port], mqtts://..."),
    ] = "iotcore",
    seconds: Annotated[float, typer.Option(min=1, help="of measuring, when all are online")] = 30,
    start_rate: Annotated[float, typer.Option(min=0.1, help="devices started a second")] = 10,
    command_rate: Annotated[float, typer.Option(min=0, help="a second, over all devices")] = 10,
    period: Annotated[
        float, typer.Option(min=0.1, help="seconds between readings, without a description")
    ] = simulation.DEFAULT_PERIOD,
    ca: Annotated[Optional[Path], typer.Option(help="mqtts: who signed the broker's certificate")] = None,
    file: File = _FILE,
    report: Annotated[Path, typer.Option(help="where the figures go")] = _REPORT,
) -> None:
    """A simulated fleet: a process of the real MicroPython VM for each device.

    mosquitto is started with the fleet's password file, ACL and certificates. Exit code 1 where a
    device did not come online, lost its link, or left a command unanswered.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    console = Console()
    try:
        done = _run(
            count, period, broker_choice, LoadProfile(seconds, start_rate, command_rate), ca, file, console
        )
    except KeyboardInterrupt:
        raise typer.Exit(130)
    except (OSError, MQTTError, process.VmNotFound) as error:
        raise UserError(f"{broker_choice.split('@')[-1]}: {error}: `make doctor` tells more") from error
    done.write(report)
    console.print(done.table())
    for name, why in list(done.failed.items())[:20]:
        console.print(f"{name}: {why}", style="red", markup=False, highlight=False)
    if len(done.failed) > 20:
        console.print(f"and {len(done.failed) - 20} more, in {report}", style="red", highlight=False)
    raise typer.Exit(0 if done.passed else 1)


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _run(
    count: int | None,
    period: float,
    broker_choice: str,
    profile: LoadProfile,
    ca: Path | None,
    file: Path,
    console: Console,
) -> Report:
    BUILD.mkdir(exist_ok=True)
    _open_files((count or 100) * 2)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-", dir=BUILD)))
        if count:
            fleet = simulation.default_fleet(count, broker_choice == "mosquitto", period)
            fleet.prefix = f"umqtt5-fleet-{secrets.token_hex(3)}"  # a shared broker keeps runs apart
            store = FleetStore(folder / "private")
        else:
            fleet = description.load_fleet(file)
            store = FleetStore(secrets_folder(file))
        # the stage's own certificate is signed by the fleet's authority, whoever signs the real one's
        fleet.broker.ca = None
        with console.status("keys, certificates, configs"):
            wanted = build_device_files(fleet, store, file)
        names = [one.name for one in wanted]
        broker = stack.enter_context(
            simulation.open_broker(broker_choice, fleet, store, names, ca, folder / "broker")
        )
        load_client = LoadClient(
            broker.address, fleet.prefix, names, simulation.dashboard_ssl_context(broker, fleet, store)
        )
        load_client.connect()
        report = Report(broker_choice.split("@")[-1], bool(broker.ca), broker.certificates)
        staged = [simulation.for_host_board(one, broker) for one in wanted]
        running = LoadTest(staged, broker, load_client, folder / "devices")
        stack.callback(load_client.close, clear_retained=not broker.is_ours)
        stack.callback(running.stop)
        with _screen(console) as each:
            running.run(profile, each, report)
    return report


def _open_files(wanted: int) -> None:
    """Each device has its console, and each link a socket."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted + 256:
        most = wanted + 256 if hard == resource.RLIM_INFINITY else min(hard, wanted + 256)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.contextmanager
def _screen(console: Console) -> Iterator[Any]:
    """One line that changes in a terminal; elsewhere a line every five seconds."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            shown = [0.0]

            def show(now: RunStatus) -> None:
                if time.monotonic() - shown[0] > 0.25:
                    shown[0] = time.monotonic()
                    live.update(_line(now), refresh=True)

            yield show
        return
    said = [0.0]

    def say(now: RunStatus) -> None:
        if time.monotonic() - said[0] > 5:
            said[0] = time.monotonic()
            console.print(_line(now), highlight=False, markup=False, soft_wrap=True)
            sys.stdout.flush()

    yield say


def _line(now: RunStatus) -> str:
    load_client = now.load_client
    ms = latency_percentiles(load_client.latencies)
    answers = f" in p50 {ms['p50']:g} p99 {ms['p99']:g} ms" if ms else ""
    return (
        f"{now.phase}: {load_client.online_count} online, {now.started} of {now.total} started · "
        f"{now.messages_per_second:.0f} messages/s · "
        f"{len(load_client.latencies)} of {load_client.commands_sent} commands answered{answers} · {load_client.reconnects} reconnects"
    )
