"""`make repl`: MicroPython's prompt on a board, by mpremote."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from tools.board import mpremote, serial_ports


def main(
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
) -> None:
    """MicroPython's prompt. Ctrl-C stops what runs, Ctrl-D starts it anew, Ctrl-] or Ctrl-X leaves."""
    raise typer.Exit(mpremote.run_interactive(serial_ports.choose_port(port, None), "resume", "repl"))
