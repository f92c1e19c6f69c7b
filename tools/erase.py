"""The command `erase`: erases the flash of an ESP32, or all files of a board."""

from __future__ import annotations

from typing import Annotated

import typer

from tools import deadlines
from tools.board import definition, esptool, firmware, mpremote, serial_ports
from tools.board.identity import check_board
from tools.console import Console
from tools.errors import UserError
from tools.options import BoardKey, Port


def main(
    board_key: BoardKey,
    port: Port = None,
    files_only: Annotated[
        bool, typer.Option("--files-only", help="erase the files, keep MicroPython")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask for confirmation")] = False,
) -> None:
    """Erase a board after asking for confirmation. On an RP2040 or RP2350, MicroPython is kept."""
    console = Console(soft_wrap=True)
    board = definition.load_board(board_key)
    chosen = serial_ports.choose_port(port, board)
    files_only = files_only or firmware.pinned_firmware(board).format == "uf2"
    content = "all files" if files_only else "MicroPython and all files"
    if not yes:
        try:
            with deadlines.current().paused():
                typer.confirm(f"{chosen}: erase {content} of {board.name}?", abort=True)
        except typer.Abort as abort:
            raise UserError(
                f"{chosen}: nothing was erased. To erase without confirmation, add --yes"
            ) from abort
    if files_only:
        check_board(chosen, board)
        with console.status(f"{chosen}: erasing the files"):
            mpremote.run(
                chosen,
                *("exec", "import os; os.chdir('/')", "fs", "rm", "-r", ":"),
                timeout=deadlines.REMOVE_ALL,
                doing="erasing the files",
            )
    else:
        esptool.erase(chosen, board, console)
    console.print(f"{chosen}: {content} erased. To install everything again: make flash")
