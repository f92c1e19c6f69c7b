"""`make deploy`, by the real mpremote, onto the VM at the end of a cable."""

from __future__ import annotations

import re

import pytest

from host_tests.board.rig import run_failing_tool, run_tool
from host_tests.board.simulated_board import SimulatedBoard
from tools import deploy as deploying
from tools.bundle import image
from tools.errors import UserError


def deploy(cable: SimulatedBoard, *more: object) -> str:
    return run_tool("deploy", "--board", "esp32", "--port", cable.port, "--no-start", *more)


def copied(said: str) -> tuple[int, int, int]:
    found = re.search(r"(\d+) files copied, (\d+) removed, (\d+) unchanged", said)
    assert found, said
    return int(found[1]), int(found[2]), int(found[3])


def test_only_what_has_changed_is_copied(deployed_board: SimulatedBoard) -> None:
    count = len(deploying.hash_files(image.build_image("esp32")))
    assert copied(deploy(deployed_board)) == (0, 0, count)
    changed = deployed_board.folder / "app" / "node.mpy"
    changed.write_bytes(changed.read_bytes()[:-1])
    (deployed_board.folder / "umqtt5" / "core.mpy").unlink()
    assert copied(deploy(deployed_board)) == (2, 0, count - 2)
    assert (
        deploying.hash_files(image.build_image("esp32")).items()
        <= deploying.hash_files(deployed_board.folder).items()
    )


def test_what_no_longer_belongs_is_removed_and_the_users_files_stay(deployed_board: SimulatedBoard) -> None:
    (deployed_board.folder / "app" / "gone.mpy").write_bytes(b"of an older version")
    (deployed_board.folder / "app" / "node.py").write_text("shadows = 'node.mpy'")
    (deployed_board.folder / "pins.py").write_text("shadows = 'pins.mpy'")
    (deployed_board.folder / "notes.txt").write_text("mine")
    config = (deployed_board.folder / "config.json").read_text()
    assert copied(deploy(deployed_board))[:2] == (0, 3)
    assert not (deployed_board.folder / "app" / "node.py").exists()
    assert not (deployed_board.folder / "pins.py").exists()
    assert (deployed_board.folder / "notes.txt").read_text() == "mine"
    assert (deployed_board.folder / "config.json").read_text() == config


def test_what_came_over_the_air_makes_room_for_what_came_by_the_cable(deployed_board: SimulatedBoard) -> None:
    (deployed_board.folder / "a" / "app").mkdir(parents=True)
    (deployed_board.folder / "a" / "app" / "node.mpy").write_bytes(b"of an update")
    (deployed_board.folder / "slot").write_text("a . -\n")
    said = deploy(deployed_board)
    assert copied(said)[:2] == (0, 2) and "the deployed files run now" in said
    assert not (deployed_board.folder / "slot").exists()
    assert "connected to" in run_tool("deploy", "--board", "esp32", "--port", deployed_board.port)


def test_it_is_started_and_its_first_lines_are_shown(deployed_board: SimulatedBoard) -> None:
    said = run_tool("deploy", "--board", "esp32", "--port", deployed_board.port)
    assert "Wi-Fi: connected" in said and "dut: connected to" in said


def test_a_micropython_that_loads_other_mpy_files_is_told(micropython_board: SimulatedBoard) -> None:
    with pytest.raises(UserError, match=r"loads .mpy files of version 6, but these files have version 5"):
        deploying.read_board_hashes(micropython_board.port, {"main.py": ""}, 5)


def test_a_full_file_system_is_told(micropython_board: SimulatedBoard) -> None:
    (micropython_board.folder / "boot.py").write_text(_FULL)
    said = run_failing_tool("deploy", "--board", "esp32", "--port", micropython_board.port)
    assert "the file system of the board is full" in said and "make ls" in said


# a disk of 8 KB instead of the folder
_FULL = """
import os, vfs
class Disk:
    def __init__(self):
        self.data = bytearray(16 * 512)
    def readblocks(self, n, buf, offset=0):
        at = n * 512 + offset
        buf[:] = self.data[at : at + len(buf)]
    def writeblocks(self, n, buf, offset=0):
        at = n * 512 + offset
        self.data[at : at + len(buf)] = buf
    def ioctl(self, op, arg):
        return {4: 16, 5: 512, 6: 0}.get(op)
disk = Disk()
vfs.VfsLfs2.mkfs(disk)
vfs.mount(disk, "/small")
os.chdir("/small")
"""


def test_ls_logs_and_erase(deployed_board: SimulatedBoard) -> None:
    said = run_tool("ls", "--port", deployed_board.port)
    assert "config.json" in said and "umqtt5" in said and "avail" in said
    said = run_tool("logs", "--port", deployed_board.port, "--seconds", "8", "--restart")
    assert "dut: connected to" in said
    said = run_failing_tool("erase", "--board", "esp32", "--port", deployed_board.port, "--files-only")
    assert "nothing was erased" in said and (deployed_board.folder / "config.json").exists()
    run_tool("erase", "--board", "esp32", "--port", deployed_board.port, "--files-only", "--yes")
    assert not list(deployed_board.folder.iterdir())
