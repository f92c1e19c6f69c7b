"""The command `doctor`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from tools import board, ports
from tools import broker as brokers
from tools.doctor import cable, computer, link
from tools.doctor.finding import OK, PROBLEM, WARNING, Check, Finding, examine

_STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "red"}


def checks(target: board.Board | None, port: str | None, address: brokers.Address | None) -> list[Check]:
    """What can be looked at, with what the caller has named."""
    made: list[Check] = [computer.python, computer.packages, computer.room, computer.clock]
    if target:
        made += [lambda: computer.cached(target), lambda: cable.drive(target)]
    made.append(cable.serial_ports if port is None else lambda: cable.permission(port))
    made.append(lambda: _devices(port, target))
    if address:
        made.append(lambda: link.broker(address))
    return made


def _devices(port: str | None, target: board.Board | None) -> Iterator[Finding]:
    there = [port] if port else [found.device for found in ports.found()]
    for one in there:
        if not list(finding for finding in cable.permission(one) if finding.level == PROBLEM):
            yield from cable.device(one, target)


def main(
    board_key: Annotated[Optional[str], typer.Option("--board", help="a folder of boards/")] = None,
    port: Annotated[Optional[str], typer.Option(help="only this serial port")] = None,
    broker: Annotated[
        Optional[str], typer.Option(help="mqtt://[user:password@]host[:port], or mqtts:// with TLS")
    ] = None,
    ca: Annotated[Optional[Path], typer.Option(help="TLS: who signed the broker's certificate")] = None,
    cert: Annotated[Optional[Path], typer.Option(help="TLS: a certificate of one's own")] = None,
    key: Annotated[Optional[Path], typer.Option(help="TLS: the private key of it")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="a line of JSON for each finding")] = False,
) -> None:
    """What stands between you and a running device, each with its remedy. Exit code 1 for a problem.

    An application that runs on a board is stopped to look at it; `make logs ARGS=--restart` starts it.
    """
    console = Console(soft_wrap=True)
    target = board.load(board_key) if board_key else None
    address = brokers.parse(broker, ca, cert, key) if broker else None
    bad = False
    for finding in examine(checks(target, port, address)):
        bad = bad or finding.level == PROBLEM
        if as_json:
            typer.echo(json.dumps(asdict(finding)))
            continue
        console.print(f"{finding.level:8}", style=_STYLES[finding.level], end="")
        console.print(f"{finding.what}: {finding.text}", markup=False, highlight=False)
        if finding.remedy:
            console.print(f"{'':8}-> {finding.remedy}", markup=False, highlight=False)
    raise typer.Exit(1 if bad else 0)
