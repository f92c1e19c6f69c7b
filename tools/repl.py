"""The command `repl`: opens the MicroPython prompt (REPL) of a board, with mpremote."""

from __future__ import annotations

import typer

from tools.board import mpremote, serial_ports
from tools.options import Port


def main(port: Port = None) -> None:
    """Open the MicroPython prompt. Ctrl-C stops the program, Ctrl-D restarts it, Ctrl-] or Ctrl-X exits."""
    raise typer.Exit(mpremote.run_interactive(serial_ports.choose_port(port, None), "resume", "repl"))
