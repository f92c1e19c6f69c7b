"""The command `logs`: prints the console output of a device."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Optional

import typer

from tools.board import serial_ports
from tools.board.serial_console import SerialConsole
from tools.options import Port


def main(
    port: Port = None,
    seconds: Annotated[Optional[float], typer.Option(min=0, help="duration; default: until Ctrl-C")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="restart the application first")] = False,
) -> None:
    """Print the console output of a device. Without --restart the device is not interrupted."""
    with (
        SerialConsole(serial_ports.choose_port(port, None)) as console,
        contextlib.suppress(KeyboardInterrupt),
    ):
        if restart:
            console.soft_reset()
        console.copy_output(sys.stdout, seconds)
