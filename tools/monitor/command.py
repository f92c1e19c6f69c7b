"""The command `monitor`."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from tools.broker import parse_url
from tools.monitor import alerts
from tools.monitor.model import MonitorModel


def main(
    broker: Annotated[
        str, typer.Option(help="mqtt://[user:password@]host[:port], or mqtts:// with TLS")
    ] = "mqtt://localhost",
    prefix: Annotated[str, typer.Option(help="where the devices' topics begin")] = "umqtt5",
    ca: Annotated[Optional[Path], typer.Option(help="TLS: who signed the broker's certificate")] = None,
    cert: Annotated[Optional[Path], typer.Option(help="TLS: a certificate of one's own")] = None,
    key: Annotated[Optional[Path], typer.Option(help="TLS: the private key of it")] = None,
    web: Annotated[bool, typer.Option("--web", help="as a page on this computer")] = False,
    web_port: Annotated[int, typer.Option(min=0, max=65535, help="of the page; 0 takes a free one")] = 0,
    alert: Annotated[
        Optional[list[str]], typer.Option(help="device/reading>number; * is any device; may be repeated")
    ] = None,
    record: Annotated[Optional[Path], typer.Option(help="append readings to this CSV file")] = None,
    seconds: Annotated[Optional[float], typer.Option(min=1, help="end by itself")] = None,
) -> None:
    """What the devices on a broker say: status, readings with plots, alerts; commands to their switches.

    Without a terminal it prints lines. A broker that goes away is shown, and waited for.
    """
    console = Console(soft_wrap=True)
    rules = [alerts.parse_rule(text) for text in alert or []]
    model = MonitorModel(parse_url(broker, ca, cert, key), prefix, rules, record)
    model.connect()
    try:
        if web:
            from tools.monitor.web import serve

            serve(model, web_port, console)
        elif sys.stdout.isatty() and sys.stdin.isatty():
            from tools.monitor.terminal import MonitorApp

            MonitorApp(model).run()
        else:
            _lines(model, console, seconds)
    finally:
        model.close()


def _lines(model: MonitorModel, console: Console, seconds: float | None) -> None:
    """Events as they come, readings every two seconds."""
    said = told = 0.0
    ends = time.monotonic() + (seconds or 1e9)
    with contextlib.suppress(KeyboardInterrupt):
        while time.monotonic() < ends:
            model.poll(100)
            for at, text in list(model.events):
                if at > said:
                    said = at
                    console.print(text, markup=False, highlight=False)
            if time.monotonic() - told > 2:
                told = time.monotonic()
                for name, device in sorted(model.monitor.devices.items()):
                    values = ", ".join(f"{k} {v[-1]:g}" for k, v in device.readings.items())
                    switches = ", ".join(f"{k} {v}" for k, v in device.switches.items())
                    text = f"{name}: {device.status}: {values} · {switches}"
                    console.print(text, markup=False, highlight=False)
