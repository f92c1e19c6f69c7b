"""Command line of `make monitor`: terminal view, web page (`--web`), or plain lines without a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Annotated, Optional

import typer

from tools.console import Console
from tools.monitor import alerts
from tools.monitor.model import MonitorModel
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
    web_port: Annotated[int, typer.Option(min=0, max=65535, help="port of the web page; 0: a free port")] = 0,
    alert: Annotated[
        Optional[list[str]],
        typer.Option(help="device/reading>number or device/reading<number; * is any device; repeatable"),
    ] = None,
    record: Annotated[Optional[Path], typer.Option(help="append readings to this CSV file")] = None,
    seconds: Annotated[
        Optional[float], typer.Option(min=1, help="stop after this time (s), if the output is not a terminal")
    ] = None,
) -> None:
    """Show all devices of a broker live: status, readings with plots, alerts; send commands to switches.

    If the output is not a terminal, it prints lines. If the connection is lost, it reconnects automatically.
    """
    console = Console(soft_wrap=True)
    rules = [alerts.parse_rule(text) for text in alert or []]
    access = resolve_access(broker, fleet, password_file, ca, cert, key)
    model = MonitorModel(access.address, prefix or access.prefix or "umqtt5", rules, record)
    model.connect()
    try:
        if web:
            from tools.monitor.web import serve

            serve(model, web_port, console)
        elif sys.stdout.isatty() and sys.stdin.isatty():
            from tools.monitor.terminal import MonitorApp

            MonitorApp(model).run()
        else:
            _print_lines(model, console, seconds)
    finally:
        model.close()


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
                    values = ", ".join(f"{k} {v[-1]:g}" for k, v in device.readings.items())
                    switches = ", ".join(f"{k} {v}" for k, v in device.switches.items())
                    text = f"{name}: {device.status}: {values} · {switches}"
                    console.print(text)
