"""`make ls`: the files on a board."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from tools.board import mpremote, serial_ports


def main(
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
) -> None:
    """The files on a board with their sizes, and the room that is left. Stops the application."""
    typer.echo(
        mpremote.run(
            serial_ports.choose_port(port, None), "resume", "fs", "tree", "-s", ":", "+", "df"
        ).rstrip()
    )
