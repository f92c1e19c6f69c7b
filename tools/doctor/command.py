"""The command `doctor`: runs all checks of computer, board and broker, and prints one line per finding."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.text import Text

from tools.board import definition
from tools.console import Console
from tools.doctor import broker, certificates, clock, computer, device, serial_ports
from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Check, Finding, run_checks
from tools.errors import UserError
from tools.options import (
    BROKER_URL_HELP,
    CaFile,
    CertFile,
    FleetFolder,
    KeyFile,
    OptionalBoardKey,
    PasswordFile,
    Port,
)

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
    Check(certificates.check_client_certificate),
    Check(broker.check_mqtt, 30),
    Check(certificates.check_fleet),
)
_STYLES = {OK: "green", WARNING: "yellow", ERROR: "red"}


def main(
    board_key: OptionalBoardKey = None,
    port: Port = None,
    broker_url: Annotated[
        Optional[str],
        typer.Option(
            "--broker",
            help=f"{BROKER_URL_HELP}; default: the broker of --fleet or of the board",
        ),
    ] = None,
    ca: CaFile = None,
    cert: CertFile = None,
    key: KeyFile = None,
    password_file: PasswordFile = None,
    fleet: FleetFolder = None,
    drive: Annotated[
        Optional[Path], typer.Option(help="RP2040, RP2350: mount point of the bootloader's drive")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
) -> None:
    """Check computer, board and broker, and print a remedy for each problem.

    A running device is stopped for the checks and restarted afterwards. The exit code is 1 after an error.
    """
    files = {"ca": ca, "cert": cert, "key": key}
    context = CheckContext(
        definition.load_board(board_key) if board_key else None,
        port,
        broker_url,
        {name: path for name, path in files.items() if path},
        drive,
        password_file=password_file,
        fleet=fleet,
    )
    if broker_url or fleet:
        assert context.endpoint  # parses the URL: a malformed one is a usage error, not a finding
    console = Console(soft_wrap=True)
    found = []
    for finding in run_checks(context, CHECKS):
        found.append(finding)
        if not as_json:
            console.print(_format_line(finding))
    try:
        context.restart_device()
    except UserError as error:
        found.append(Finding(WARNING, "board", f"not restarted: {error}", "press its reset button"))
        if not as_json:
            console.print(_format_line(found[-1]))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=1))
    elif context.endpoint is None:
        console.print(
            "The broker was not checked. To check it: make doctor BROKER=mqtt://host, or mqtts://host",
            style="dim",
        )
    raise typer.Exit(1 if any(finding.level == ERROR for finding in found) else 0)


def _format_line(finding: Finding) -> Text:
    line = Text(f"{finding.level:8}", style=_STYLES[finding.level])
    line.append(f" {finding.subject}: {finding.message}", style="default")
    if finding.remedy:
        line.append(f" → {finding.remedy}", style="bold default")
    return line
