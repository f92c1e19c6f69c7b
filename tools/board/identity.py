"""Checks what is at the other end of a serial port, before a command changes files there.

A port can lead to another board than the one that the user means, and a URL such as `socket://` even to
MicroPython on a computer, whose files `rm -r` would remove.
"""

from __future__ import annotations

from pathlib import Path

from tools.board import mpremote
from tools.board.definition import Board, list_boards, load_board
from tools.deadlines import IDENTIFY
from tools.errors import UserError

SCRIPT = Path(mpremote.__file__).parent / "on_board" / "identify.py"


def check_board(port: str, board: Board) -> int | None:
    """Raise UserError if the port does not lead to such a board. The program on the board is stopped.

    Returns the heap of the board in bytes, None if it does not report one.
    """
    doing = "identifying the board"
    output = mpremote.run(port, "exec", "", "run", str(SCRIPT), timeout=IDENTIFY, doing=doing)
    return check_output(output, port, board)


def check_output(output: str, port: str, board: Board) -> int | None:
    """Check the output of `SCRIPT`, and return the heap in it. Raises UserError if it is of another board."""
    other = find_other_board(output, port, board)
    if other:
        raise UserError(
            f"{port}: the MicroPython there was built for boards/{other.key}. Nothing was changed. "
            f"Choose the right board with BOARD={other.key}, or install the right MicroPython with make flash"
        )
    found = [line.split() for line in output.splitlines() if line.startswith("board ")]
    return int(found[0][3]) if len(found[0]) > 3 and found[0][3].isdigit() else None


def find_other_board(output: str, port: str, board: Board) -> Board | None:
    """Return the board for which the MicroPython that printed `output` was built, if it is not `board`.

    Returns None also for a build that no folder of `boards/` names. Raises UserError if it runs on another
    family of chips.
    """
    found = [line.split() for line in output.splitlines() if line.startswith("board ")]
    family, build = found[0][1:3] if found and len(found[0]) > 2 else ("an unknown platform", "-")
    wanted = "rp2" if board.chip.startswith("rp2") else "esp32"
    if family != wanted:
        raise UserError(
            f"{port}: MicroPython there runs on {family}, but boards/{board.key} is a board with {wanted}. "
            "Nothing was changed. Choose another port with PORT="
        )
    for key in list_boards():
        other = load_board(key)
        if key != board.key and other.firmware and other.firmware.name == build:
            return other
    return None
