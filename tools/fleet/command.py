"""Command line of `make fleet`: init, generate, list, flash, revoke, renew and run (a load test)."""

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
from rich.live import Live
from rich.table import Table

from tools.board import definition
from tools.console import Console
from tools.credentials import warn
from tools.errors import UserError
from tools.fleet import description, expiry, secret_files, simulation
from tools.fleet.certificate_commands import renew, revoke
from tools.fleet.device_files import build_device_files
from tools.fleet.fleet_options import DEFAULT_FILE, DEFAULT_OUT, File, Out
from tools.fleet.generate import generate_files, secrets_folder
from tools.fleet.load_client import LoadClient
from tools.fleet.load_test import LoadProfile, LoadTest, RunStatus
from tools.fleet.report import Report, latency_percentiles
from tools.fleet.store import FleetStore
from tools.options import BROKER_URL_HELP, BoardKey, CaFile, PasswordFile, Port
from tools.paths import BUILD
from tools.vm import process
from umqtt5 import MQTTError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_REPORT = BUILD / "fleet.json"
_MAX_LISTED_FAILURES = 20
_TEMPLATE = """\
# Description of a fleet. `make fleet ARGS=generate` writes the files of each device.
# All fields: docs/fleet.md

name = {name}     # pattern of the device names: with {{number}}; 1 to 23 letters, digits, - or _
count = {count}     # number of devices
board = {board}     # a folder of boards/
prefix = "umqtt5"     # first part of all topics
health = 60     # seconds between two health messages

[broker]
host = {host}
tls = true     # the fleet's own CA issues the broker's certificate, unless `ca` names another CA file
{wifi}
[credentials]
password = true     # a random password for each device
certificate = true     # a client certificate for each device
{lists}
# A device that differs from the others:
# [[devices]]
# number = 1
# health = 10
"""


@app.callback()
def _fleet() -> None:
    """Manage many devices from one description: generate their files, flash boards, run load tests."""


@app.command()
def init(
    board_key: BoardKey = "esp32",
    count: Annotated[int, typer.Option(min=1, help="number of devices")] = 10,
    name: Annotated[str, typer.Option(help="device name pattern with {number}")] = "greenhouse-{number:03}",
    host: Annotated[str, typer.Option(help="the broker's host name or IP address")] = "192.168.1.10",
    file: File = DEFAULT_FILE,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing file")] = False,
) -> None:
    """Write an example of a fleet description."""
    target = definition.load_board(board_key)
    if file.exists() and not force:
        raise UserError(f"{file} already exists. Edit it, or overwrite it with --force")
    wifi = '\n[wifi]\nssid = "home"\npassword = "change me"\n' if target.has_wifi else ""
    lists = "".join(f'\n[[sensors]]\nkind = "{kind}"\nperiod = 30\n' for kind in target.readings)
    lists += "".join(f'\n[[actuators]]\nname = "{name}"\npin = "{name}"\n' for name in target.outputs)
    values = {"name": name, "board": board_key, "host": host}
    # a JSON string is a valid TOML string
    quoted = {field: json.dumps(value) for field, value in values.items()}
    text = _TEMPLATE.format(count=count, wifi=wifi, lists=lists, **quoted)
    file.parent.mkdir(parents=True, exist_ok=True)
    secret_files.write_file(file, text)
    if advice := secret_files.hide_from_git(file):
        warn(advice)
    description.load_fleet(file)
    typer.echo(f"written: {file}. Adapt it to your devices, then run: make fleet ARGS=generate")


@app.command()
def generate(file: File = DEFAULT_FILE, out: Out = DEFAULT_OUT) -> None:
    """Write each device's config, keys and certificates, and the broker's files.

    You can run it again at any time: keys and passwords stay, and only changed files are written.
    """
    console = Console(soft_wrap=True)
    fleet = description.load_fleet(file)
    generated = generate_files(fleet, file, out, console)

    def print_line(text: str) -> None:
        console.print(text)

    for name, files in generated.changed.items():
        print_line(f"{name}: changed: {', '.join(files)}")
    if generated.broker_files:
        print_line(f"broker: changed: {', '.join(generated.broker_files)}. Copy them to the broker")
    print_line(
        f"{out}: {len(generated.new)} new, {len(generated.changed)} changed, "
        f"{len(generated.removed)} removed, {len(generated.unchanged)} unchanged"
    )
    for warning in expiry.format_warnings(expiry.find_expiries(fleet, secrets_folder(file), file)):
        console.print(warning, style="yellow")
    if generated.new:
        print_line(f"Back up {secrets_folder(file)}. If you lose it, every device must be reflashed")


@app.command("list")
def list_devices(
    file: File = DEFAULT_FILE, as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False
) -> None:
    """List the devices: when each was flashed, whether its files have changed since, and the days left.

    The days are those until the certificate on the device expires. What expires soon is listed below.
    """
    fleet = description.load_fleet(file)
    store = FleetStore(secrets_folder(file))
    built = {one.name: one for one in build_device_files(fleet, store, file)}
    expiries = expiry.find_expiries(fleet, store.folder, file)
    days = {one.name: one.days_left() for one in expiries}
    rows: list[dict[str, Any]] = []
    for device in description.expand_devices(fleet, str(file)):
        flashed = store.flashed_at(device.name)
        state = flashed or "not flashed"
        revoked = store.records.revoked_at(device.name)
        if revoked:
            state = f"revoked at {revoked}"
        elif flashed and store.flashed_digest(device.name) != built[device.name].digest:
            state = f"{flashed}, changed since"
        row = {"name": device.name, "board": device.board, "state": state, "days": days.get(device.name)}
        rows.append(row)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table.grid(padding=(0, 2))
    for row in rows:
        left = "" if row["days"] is None else f"{row['days']} days left"
        table.add_row(str(row["name"]), str(row["board"]), left, str(row["state"]))
    console = Console(soft_wrap=True)
    console.print(table)
    for warning in expiry.format_warnings(expiries):
        console.print(warning, style="yellow")


@app.command()
def flash(
    names: Annotated[Optional[list[str]], typer.Argument(help="flash only these devices")] = None,
    file: File = DEFAULT_FILE,
    out: Out = DEFAULT_OUT,
    port: Port = None,
    firmware: Annotated[Optional[Path], typer.Option(help="flash MicroPython from this file")] = None,
    reflash: Annotated[
        bool, typer.Option("--reflash", help="also flash devices that are up to date")
    ] = False,
) -> None:
    """Flash boards, one after the other: wait for a board, flash it, print its label.

    You can interrupt it: each flashed device is recorded, and the next run skips it.
    """
    from tools.fleet.flash import flash_all, select_devices  # needs the packages for boards

    console = Console(soft_wrap=True)
    fleet = description.load_fleet(file)
    generate_files(fleet, file, out, console)
    store = FleetStore(secrets_folder(file))
    wanted = select_devices(build_device_files(fleet, store, file), store, names or [], reflash)
    if not wanted:
        console.print("nothing to do: all selected devices are flashed. To flash them again, add --reflash")
        return
    flash_all(wanted, out, store, port, firmware, console)
    console.print(f"devices flashed: {len(wanted)}")


app.command()(revoke)
app.command()(renew)


@app.command()
def run(
    count: Annotated[
        Optional[int], typer.Option(min=1, help="simulate this many devices instead of those in the file")
    ] = None,
    broker_choice: Annotated[
        str,
        typer.Option("--broker", help=f"iotcore, mosquitto, {BROKER_URL_HELP}"),
    ] = "iotcore",
    seconds: Annotated[
        float, typer.Option(min=1, help="duration of the measurement, after all devices are online")
    ] = 30,
    start_rate: Annotated[float, typer.Option(min=0.1, help="devices started per second")] = 10,
    command_rate: Annotated[
        float, typer.Option(min=0, help="commands sent per second, to all devices together")
    ] = 10,
    period: Annotated[
        float, typer.Option(min=0.1, help="seconds between two readings, with --count")
    ] = simulation.DEFAULT_PERIOD,
    ca: CaFile = None,
    password_file: PasswordFile = None,
    file: File = DEFAULT_FILE,
    report: Annotated[Path, typer.Option(help="JSON file for the results")] = _REPORT,
) -> None:
    """Run a load test of the simulated fleet. Each device is a process of the MicroPython VM.

    `--broker mosquitto` starts mosquitto with the fleet's password file, ACL and certificates. The exit
    code is 1 if a device did not come online, lost its connection, or did not answer a command.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    console = Console()
    try:
        done = _run(
            count,
            period,
            broker_choice,
            LoadProfile(seconds, start_rate, command_rate),
            ca,
            password_file,
            file,
            console,
        )
    except KeyboardInterrupt:
        raise typer.Exit(130)
    except process.VmNotFound as error:
        raise UserError(str(error)) from error
    except (OSError, MQTTError) as error:
        raise UserError(f"{broker_choice.split('@')[-1]}: {error}. Try: make doctor") from error
    done.write(report)
    console.print(done.table())
    for name, why in list(done.failed.items())[:_MAX_LISTED_FAILURES]:
        console.print(f"{name}: {why}", style="red")
    more = len(done.failed) - _MAX_LISTED_FAILURES
    if more > 0:
        console.print(f"and {more} more devices: see {report}", style="red")
    raise typer.Exit(0 if done.passed else 1)


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _run(
    count: int | None,
    period: float,
    broker_choice: str,
    profile: LoadProfile,
    ca: Path | None,
    password_file: Path | None,
    file: Path,
    console: Console,
) -> Report:
    BUILD.mkdir(exist_ok=True)
    _raise_open_files_limit((count or 100) * 2)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-", dir=BUILD)))
        if count:
            fleet = simulation.default_fleet(count, broker_choice == "mosquitto", period)
            # a prefix per run, so that several runs can use one broker
            fleet.prefix = f"umqtt5-fleet-{secrets.token_hex(3)}"
            store = FleetStore(folder / "private")
        else:
            fleet = description.load_fleet(file)
            store = FleetStore(secrets_folder(file))
        # ignore the CA of the real broker: in a simulation, the fleet's own CA issues the certificate
        fleet.broker.ca = None
        with console.status("keys, certificates, configs"):
            wanted = build_device_files(fleet, store, file)
        names = [one.name for one in wanted]
        broker = stack.enter_context(
            simulation.open_broker(broker_choice, fleet, store, names, ca, folder / "broker", password_file)
        )
        load_client = LoadClient(
            broker.operator_address,
            fleet.prefix,
            names,
            simulation.operator_ssl_context(broker, fleet, store),
        )
        load_client.connect()
        stack.enter_context(simulation.announce(broker, fleet, store))
        report = Report(broker_choice.split("@")[-1], bool(broker.ca), broker.certificates)
        simulated = [simulation.for_host_board(one, broker) for one in wanted]
        load_test = LoadTest(simulated, broker, load_client, folder / "devices")
        stack.callback(load_client.close, clear_retained=not broker.is_ours)
        stack.callback(load_test.stop)
        with _status_display(console) as show_status:
            load_test.run(profile, show_status, report)
    return report


def _raise_open_files_limit(wanted: int) -> None:
    """Raise the limit on open files: each device needs two, for its console and its socket."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted + 256:
        limit = wanted + 256 if hard == resource.RLIM_INFINITY else min(hard, wanted + 256)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@contextlib.contextmanager
def _status_display(console: Console) -> Iterator[Any]:
    """Yield a function that shows a RunStatus.

    In a terminal it updates one line; otherwise it prints a line every five seconds.
    """
    last = [0.0]
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:

            def update_line(status: RunStatus) -> None:
                if time.monotonic() - last[0] > 0.25:
                    last[0] = time.monotonic()
                    live.update(_format_status(status), refresh=True)

            yield update_line
        return

    def print_line(status: RunStatus) -> None:
        if time.monotonic() - last[0] > 5:
            last[0] = time.monotonic()
            console.print(_format_status(status), soft_wrap=True)
            sys.stdout.flush()

    yield print_line


def _format_status(status: RunStatus) -> str:
    client = status.load_client
    ms = latency_percentiles(client.latencies)
    latency = f" (p50 {ms['p50']:g} ms, p99 {ms['p99']:g} ms)" if ms else ""
    return (
        f"{status.phase}: {client.online_count} online, {status.started} of {status.total} started · "
        f"{status.messages_per_second:.0f} messages/s · "
        f"{len(client.latencies)} of {client.commands_sent} commands answered{latency} · "
        f"{client.reconnects} reconnects"
    )
