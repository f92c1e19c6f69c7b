"""The board at the end of the cable is as a board is."""

from __future__ import annotations

from host_tests.board.simulated_board import SimulatedBoard
from tools.board import mpremote


def test_its_files_are_all_that_it_can_reach(micropython_board: SimulatedBoard) -> None:
    (micropython_board.folder / "mine").write_text("x")
    code = "import os; print(os.getcwd(), os.listdir('/'), os.listdir())"
    assert mpremote.run(micropython_board.port, "exec", code).strip() == "/ ['mine'] ['mine']"


def test_a_soft_reset_forgets_what_was_and_runs_boot(micropython_board: SimulatedBoard) -> None:
    (micropython_board.folder / "boot.py").write_text("")
    code = "import sys; print('x' in globals(), 'boot' in sys.modules); x = 1"
    for _ in range(2):
        assert mpremote.run(micropython_board.port, "exec", code).strip() == "False True"
