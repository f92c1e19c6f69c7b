"""`make logs`: what a device says on its console."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Optional

import typer

from tools.board import serial_ports
from tools.board.serial_console import SerialConsole


def main(
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
    seconds: Annotated[Optional[float], typer.Option(min=0, help="so long; else until Ctrl-C")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="start the application anew first")] = False,
) -> None:
    """What a device says on its console, as it comes; the device is not disturbed."""
    with (
        SerialConsole(serial_ports.choose_port(port, None)) as serial,
        contextlib.suppress(KeyboardInterrupt),
    ):
        if restart:
            serial.soft_reset()
        serial.copy_output(sys.stdout, seconds)
