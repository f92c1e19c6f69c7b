"""The command `ls`: lists the files on a board, with mpremote."""

from __future__ import annotations

from tools.board import mpremote, serial_ports
from tools.console import echo
from tools.deadlines import LIST
from tools.options import Port


def main(port: Port = None) -> None:
    """List the files on a board with their sizes, and the free space. This stops the application."""
    chosen = serial_ports.choose_port(port, None)
    words = ("resume", "fs", "tree", "-s", ":", "+", "df")
    echo(mpremote.run(chosen, *words, timeout=LIST, doing="listing the files").rstrip())
