"""Command-line options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

BoardKey = Annotated[str, typer.Option("--board", help="the board: a folder of boards/")]
OptionalBoardKey = Annotated[Optional[str], typer.Option("--board", help="the board: a folder of boards/")]
Port = Annotated[
    Optional[str], typer.Option("--port", help="the serial port; optional if one board is connected")
]
# "\[" because rich would take "[user@]" for markup and hide it
BROKER_URL_HELP = r"mqtt://\[user@]host[:port], or mqtts:// for TLS"
PasswordFile = Annotated[
    Optional[Path],
    typer.Option(
        "--password-file",
        help="file with the password of the broker user; default: MQTT_PASSWORD, the keyring, or a prompt",
    ),
]
FleetFolder = Annotated[
    Optional[Path],
    typer.Option(
        "--fleet", help="folder with the login of an operator, from `make fleet`; default: build/fleet"
    ),
]
BROKER_DEFAULT = "default: the broker of --fleet, otherwise mqtt://localhost"
CaFile = Annotated[
    Optional[Path], typer.Option("--ca", help="TLS: CA certificate that verifies the broker's certificate")
]
CertFile = Annotated[Optional[Path], typer.Option("--cert", help="TLS: client certificate")]
KeyFile = Annotated[Optional[Path], typer.Option("--key", help="TLS: private key of the client certificate")]
ConfigFile = Annotated[Optional[Path], typer.Option("--config", help="a config.json, complete or in part")]
SetFile = Annotated[
    Optional[list[str]],
    typer.Option("--set-file", help="key=FILE: the value is the only line of this file; for secrets"),
]
SetEnv = Annotated[
    Optional[list[str]],
    typer.Option("--set-env", help="key=VARIABLE: the value is in this environment variable; for secrets"),
]
Ask = Annotated[bool, typer.Option("--ask/--no-ask", help="ask for missing fields in a terminal")]
NewConfig = Annotated[
    bool, typer.Option("--new-config", help="do not use the config on the board: begin with a new one")
]
Heap = Annotated[
    Optional[int],
    typer.Option(
        "--heap", min=1, help="heap of the board in bytes, if its MicroPython has more than the stock one"
    ),
]
Start = Annotated[
    bool, typer.Option("--start/--no-start", help="start the application, and show its first lines")
]
