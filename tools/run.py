"""`make run`: a program of yours on a board, with the library at hand and nothing copied."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tools.board import definition, mpremote, serial_ports
from tools.bundle import image
from tools.errors import UserError
from tools.paths import LIB


def main(
    file: Annotated[Path, typer.Argument(help="the program, on this computer")],
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
    board_key: Annotated[
        Optional[str], typer.Option("--board", help="a folder of boards/: its application and pins, too")
    ] = None,
    source: Annotated[
        bool, typer.Option("--source", help="the library as source, which takes more heap")
    ] = False,
) -> None:
    """Run a program on a board with the library mounted from here. Ctrl-C ends it.

    The exit code is 1 where the program ended with an exception.
    """
    if not file.is_file():
        raise UserError(f"FILE={file}: there is no such file")
    target = definition.load_board(board_key) if board_key else None
    if source:
        folder = LIB
    elif target:
        folder = image.build_image(target.key)
    else:
        folder = image.build_library()
    chosen = serial_ports.choose_port(port, target)
    raise typer.Exit(mpremote.run_interactive(chosen, "mount", str(folder), "run", str(file)))
