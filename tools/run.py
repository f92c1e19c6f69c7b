"""The command `run`: runs a Python file on a board, or in the MicroPython VM of this computer."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Optional

import typer

from tools.board import definition, mpremote, serial_ports
from tools.bundle import image
from tools.console import Console
from tools.errors import UserError
from tools.options import Port
from tools.paths import LIB
from tools.vm import program
from tools.vm.process import VmNotFound

_VM = "host"  # the board that is this computer


def main(
    file: Annotated[Path, typer.Argument(help="the Python file on this computer")],
    port: Port = None,
    board_key: Annotated[
        Optional[str],
        typer.Option(
            "--board",
            help="a folder of boards/; also mounts its pins and the device application. host: this computer",
        ),
    ] = None,
    source: Annotated[
        bool, typer.Option("--source", help="mount the library as .py files, which take more heap")
    ] = False,
) -> None:
    """Run a Python file on a board. Nothing is copied to the board. Ctrl-C ends the program.

    If no board is connected, or with `--board host`, the program runs in the MicroPython VM of this computer.
    The exit code is 1 if the program ends with an exception.
    """
    if not file.is_file():
        raise UserError(f"FILE={file}: no such file")
    board = definition.load_board(board_key) if board_key else None
    if source:
        folder = LIB
    elif board:
        folder = image.build_image(board.key, whole_library=True)
    else:
        folder = image.build_library()
    if board_key == _VM:
        if port:
            raise UserError(f"PORT={port} and BOARD={_VM} exclude each other: {_VM} is this computer")
        raise typer.Exit(_run_in_vm(file, folder, "BOARD=host"))
    if port is None and board is None and not serial_ports.find_ports():
        raise typer.Exit(_run_in_vm(file, folder, "no board is connected"))
    chosen = serial_ports.choose_port(port, board)
    with tempfile.TemporaryDirectory() as temporary:
        # a copy, because a program on the board can write to the folder that is mounted
        mounted = shutil.copytree(folder, Path(temporary) / "mounted")
        code = mpremote.run_interactive(chosen, "mount", str(mounted), "run", str(file))
    raise typer.Exit(code)


def _run_in_vm(file: Path, folder: Path, reason: str) -> int:
    """Run a program in the VM, and say so on standard error. Returns its exit code."""
    Console(stderr=True, soft_wrap=True).print(
        f"{reason}: {file} runs in the MicroPython VM of this computer. Ctrl-C ends it", style="dim"
    )
    try:
        return program.run_program(file, folder)
    except VmNotFound as error:
        raise UserError(str(error)) from error
