"""Command line of `make monitor`: terminal view, web page (`--web`), or plain lines without a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Annotated, Optional

import typer

from tools import running_broker
from tools.console import Console
from tools.errors import UserError
from tools.monitor import alerts
from tools.monitor.device_state import DeviceState
from tools.monitor.history import default_path
from tools.monitor.model import MonitorModel
from tools.monitor.quantities import format_reading
from tools.operator_login import resolve_access
from tools.options import (
    BROKER_DEFAULT,
    BROKER_URL_HELP,
    CaFile,
    CertFile,
    FleetFolder,
    KeyFile,
    PasswordFile,
)
from tools.paths import BUILD


def main(
    broker: Annotated[Optional[str], typer.Option(help=f"{BROKER_URL_HELP}; {BROKER_DEFAULT}")] = None,
    prefix: Annotated[
        Optional[str],
        typer.Option(help="first part of the devices' topics; default: that of --fleet, otherwise umqtt5"),
    ] = None,
    ca: CaFile = None,
    cert: CertFile = None,
    key: KeyFile = None,
    password_file: PasswordFile = None,
    fleet: FleetFolder = None,
    web: Annotated[bool, typer.Option("--web", help="show a web page instead of the terminal view")] = False,
    host: Annotated[
        str,
        typer.Option(help="address on which the web page listens; 0.0.0.0 for each device on the network"),
    ] = "127.0.0.1",
    web_port: Annotated[int, typer.Option(min=0, max=65535, help="port of the web page; 0: a free port")] = 0,
    alert: Annotated[
        Optional[list[str]],
        typer.Option(help="device/reading above number, or below; * is any device; repeatable"),
    ] = None,
    record: Annotated[Optional[Path], typer.Option(help="append readings to this CSV file")] = None,
    history: Annotated[
        Optional[Path],
        typer.Option(help="file of the stored readings; default: build/monitor/readings.sqlite3"),
    ] = None,
    no_history: Annotated[bool, typer.Option("--no-history", help="store no readings on disk")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="print lines also in a terminal")] = False,
    seconds: Annotated[Optional[float], typer.Option(min=1, help="stop after this time (s)")] = None,
) -> None:
    """Show all devices of a broker live: status, readings with plots, alerts; send commands to switches.

    If the output is not a terminal, it prints lines. If the connection is lost, it reconnects automatically.
    """
    console = Console(soft_wrap=True)
    rules = [alerts.parse_rule(text) for text in alert or []]
    if host != "127.0.0.1" and not web:
        raise UserError("--host is for the web page: add --web, or WEB=1 for make")
    access = None
    if not (fleet or ca or cert or key):
        access = running_broker.choose_access(broker, password_file, console)
    access = access or resolve_access(broker, fleet, password_file, ca, cert, key)
    is_plain = not web and (plain or not (sys.stdout.isatty() and sys.stdin.isatty()))
    if history is None and not is_plain and not no_history:
        history = default_path(BUILD)
    path = None if no_history else history
    prefix = prefix or access.prefix or "umqtt5"
    try:
        model = MonitorModel(access.address, prefix, rules, record, path)
    except ValueError as error:  # the prefix is too long, or is no part of a topic
        raise UserError(f"--prefix {prefix[:40]}: cannot be subscribed to: {error}") from error
    model.connect()
    code = 0
    try:
        if web:
            from tools.monitor.web_server import serve

            serve(model, host, web_port, console)
        elif is_plain:
            _print_lines(model, console, seconds)
        else:
            from tools.monitor.terminal import MonitorApp

            code = MonitorApp(model, seconds).run_until_end()
    finally:
        model.close()
    raise typer.Exit(code)


def _print_lines(model: MonitorModel, console: Console, seconds: float | None) -> None:
    """Print events when they occur and all readings every two seconds, for `seconds` or until Ctrl-C."""
    last_event = last_readings = 0.0
    ends = time.monotonic() + (seconds or 1e9)
    with contextlib.suppress(KeyboardInterrupt):
        while time.monotonic() < ends:
            model.poll(100)
            for at, text in list(model.events):
                if at > last_event:
                    last_event = at
                    console.print(text)
            if time.monotonic() - last_readings > 2:
                last_readings = time.monotonic()
                for name, device in sorted(model.monitor.devices.items()):
                    console.print(f"{name}: {device.status}: {_describe(device)}")


def _describe(device: DeviceState) -> str:
    """Return readings and switches of a device in one line."""
    readings = [
        f"{name} {format_reading(name, values[-1], name in device.binary_readings)}"
        for name, values in sorted(device.readings.items())
    ]
    switches = [f"{name} {state}" for name, state in sorted(device.switches.items())]
    return " · ".join(", ".join(part) for part in (readings, switches) if part)
