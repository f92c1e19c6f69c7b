"""The simulated board behaves like a board: own filesystem, soft reset."""

from __future__ import annotations

from host_tests.board.simulated_board import SimulatedBoard
from tools.board import mpremote


def test_a_board_can_reach_only_its_own_files(micropython_board: SimulatedBoard) -> None:
    (micropython_board.folder / "mine").write_text("x")
    code = "import os; print(os.getcwd(), os.listdir('/'), os.listdir())"
    assert mpremote.run(micropython_board.port, "exec", code).strip() == "/ ['mine'] ['mine']"


def test_a_soft_reset_clears_the_globals_and_runs_boot(micropython_board: SimulatedBoard) -> None:
    (micropython_board.folder / "boot.py").write_text("")
    code = "import sys; print('x' in globals(), 'boot' in sys.modules); x = 1"
    for _ in range(2):
        assert mpremote.run(micropython_board.port, "exec", code).strip() == "False True"
