"""`make doctor`: all checks, one line for each finding."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.text import Text

from tools.board import definition
from tools.doctor import broker, clock, computer, device, serial_ports
from tools.doctor.context import Case
from tools.doctor.finding import OK, PROBLEM, WARNING, Check, Finding, examine
from tools.errors import Problem

CHECKS = (
    Check(computer.python),
    Check(computer.packages),
    Check(computer.disk),
    Check(computer.programs),
    Check(clock.clock, 30),
    Check(device.cached_firmware),
    Check(serial_ports.grabbers),
    Check(serial_ports.boards),
    Check(serial_ports.permissions),
    Check(serial_ports.boot_drive),
    Check(device.micropython, 60),
    Check(device.application, 120),
    Check(device.config, 90),
    Check(device.clock_of_board),
    Check(broker.name),
    Check(broker.port),
    Check(broker.certificate),
    Check(broker.mqtt, 30),
)
_STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "red"}


def main(
    board_key: Annotated[Optional[str], typer.Option("--board", help="a folder of boards/")] = None,
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
    broker_url: Annotated[
        Optional[str],
        typer.Option(
            "--broker", help="mqtt://[user:password@]host[:port], or mqtts://; else the board's own"
        ),
    ] = None,
    ca: Annotated[Optional[Path], typer.Option(help="TLS: who signed the broker's certificate")] = None,
    cert: Annotated[Optional[Path], typer.Option(help="TLS: a certificate of ours")] = None,
    key: Annotated[Optional[Path], typer.Option(help="TLS: the private key of it")] = None,
    drive: Annotated[Optional[Path], typer.Option(help="RP2040: where its drive is mounted")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """What is wrong between this computer, a board and a broker, and what to type.

    A board that is asked is stopped for that, and started again. Exit code 1 where there is a problem.
    """
    given = {"ca": ca, "cert": cert, "key": key}
    case = Case(
        definition.load(board_key) if board_key else None,
        port,
        broker_url,
        {name: path for name, path in given.items() if path},
        drive,
    )
    if broker_url:
        assert case.endpoint  # a URL that can't be read is wrong use, not a finding
    console = Console(soft_wrap=True)
    found = []
    for finding in examine(case, CHECKS):
        found.append(finding)
        if not as_json:
            console.print(_line(finding))
    try:
        case.leave()
    except Problem as problem:
        found.append(Finding(WARNING, "board", str(problem), "press its reset button"))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1))
    elif case.endpoint is None:
        console.print("no broker was named: make doctor BROKER=mqtt://host, or mqtts://", style="dim")
    raise typer.Exit(1 if any(one.level == PROBLEM for one in found) else 0)


def _line(one: Finding) -> Text:
    line = Text(f"{one.level:8}", style=_STYLES[one.level])
    line.append(f" {one.what}: {one.text}", style="default")
    if one.remedy:
        line.append(f" → {one.remedy}", style="bold default")
    return line
