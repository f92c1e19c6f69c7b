"""`run`: a program on the board cannot change the files of this computer, nor control the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tests.board.rig import run_tool
from host_tests.board.simulated_board import SimulatedBoard
from host_tests.tools.test_console import controls_in
from tools.board import mpremote
from tools.bundle import image
from tools.errors import UserError
from tools.paths import LIB

_PROGRAM = r"""
with open("/remote/owned.py", "w") as file:
    file.write("x")
with open("/remote/umqtt5/__init__.%s", "w") as file:
    file.write("x")
print("written \x1b]0;title\x07\x1b]52;c;eA==\x07")
"""


@pytest.mark.parametrize("source", (False, True))
def test_a_program_on_the_board_cannot_change_the_mounted_files(
    micropython_board: SimulatedBoard, tmp_path: Path, source: bool
) -> None:
    folder = LIB if source else image.build_library()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM % ("py" if source else "mpy"))
    options = ["--source"] if source else []
    output = run_tool("run", program, "--port", micropython_board.port, *options)
    assert "written \\x1b]0;title\\x07" in output and controls_in(output) == set()
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path: data for path, data in after.items() if "__pycache__" not in path.parts} == {
        path: data for path, data in before.items() if "__pycache__" not in path.parts
    }


@pytest.mark.parametrize(
    ("statement", "text"),
    (
        ("raise ValueError('x')", "ValueError: x"),
        ("raise MemoryError", "ran out of memory"),
        ("raise OSError('\\x1b]0;x\\x07')", "OSError: "),
    ),
)
def test_an_exception_on_the_board_is_one_line(
    micropython_board: SimulatedBoard, statement: str, text: str
) -> None:
    with pytest.raises(UserError, match=text) as caught:
        mpremote.run(micropython_board.port, "exec", statement)
    assert "Traceback" not in str(caught.value) and "\n" not in str(caught.value)
