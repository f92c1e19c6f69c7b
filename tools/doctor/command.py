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
from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Check, Finding, run_checks
from tools.errors import UserError

CHECKS = (
    Check(computer.check_python),
    Check(computer.check_packages),
    Check(computer.check_disk),
    Check(computer.check_programs),
    Check(clock.check_clock, 30),
    Check(device.check_cached_firmware),
    Check(serial_ports.check_port_grabbers),
    Check(serial_ports.check_boards),
    Check(serial_ports.check_permissions),
    Check(serial_ports.check_boot_drive),
    Check(device.check_micropython, 60),
    Check(device.check_application, 120),
    Check(device.check_config, 90),
    Check(device.check_board_clock),
    Check(broker.check_host_name),
    Check(broker.check_port),
    Check(broker.check_certificate),
    Check(broker.check_mqtt, 30),
)
_STYLES = {OK: "green", WARNING: "yellow", ERROR: "red"}


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
    case = CheckContext(
        definition.load_board(board_key) if board_key else None,
        port,
        broker_url,
        {name: path for name, path in given.items() if path},
        drive,
    )
    if broker_url:
        assert case.endpoint  # a URL that can't be read is wrong use, not a finding
    console = Console(soft_wrap=True)
    found = []
    for finding in run_checks(case, CHECKS):
        found.append(finding)
        if not as_json:
            console.print(_line(finding))
    try:
        case.restart_device()
    except UserError as problem:
        found.append(Finding(WARNING, "board", str(problem), "press its reset button"))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1))
    elif case.endpoint is None:
        console.print("no broker was named: make doctor BROKER=mqtt://host, or mqtts://", style="dim")
    raise typer.Exit(1 if any(one.level == ERROR for one in found) else 0)


def _line(one: Finding) -> Text:
    line = Text(f"{one.level:8}", style=_STYLES[one.level])
    line.append(f" {one.subject}: {one.message}", style="default")
    if one.remedy:
        line.append(f" → {one.remedy}", style="bold default")
    return line
