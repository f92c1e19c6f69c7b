"""`make erase`: everything off a board."""

from __future__ import annotations

from typing import Annotated, Optional

import typer
from rich.console import Console

from tools.board import definition, esptool, firmware, mpremote, serial_ports
from tools.errors import UserError


def main(
    board_key: Annotated[str, typer.Option("--board", help="a folder of boards/")],
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
    files_only: Annotated[
        bool, typer.Option("--files-only", help="only the files: MicroPython stays")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Everything off a board, its config too: on an ESP32 the whole flash, on an RP2040 the files."""
    console = Console(soft_wrap=True)
    target = definition.load_board(board_key)
    chosen = serial_ports.choose_port(port, target)
    files_only = files_only or firmware.pinned_firmware(target).format == "uf2"
    what = "all files" if files_only else "MicroPython and all files"
    if not yes:
        try:
            typer.confirm(f"{chosen}: erase {what} of {target.name}?", abort=True)
        except typer.Abort as abort:
            raise UserError(f"{chosen}: nothing is erased; without a question: --yes") from abort
    if files_only:
        mpremote.run(chosen, "exec", "import os; os.chdir('/')", "fs", "rm", "-r", ":")
    else:
        esptool.erase(chosen, target, console)
    console.print(f"{chosen}: {what} erased; `make flash` makes a device of it again", highlight=False)
