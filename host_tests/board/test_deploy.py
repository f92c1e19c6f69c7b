"""`make deploy`, by the real mpremote, onto the VM at the end of a cable."""

from __future__ import annotations

import re

import pytest

from host_tests.board.rig import problem, tool
from host_tests.board.simulated_board import Board as Cable
from tools import deploy as deploying
from tools.bundle import image
from tools.errors import Problem


def deploy(cable: Cable, *more: object) -> str:
    return tool("deploy", "--board", "esp32", "--port", cable.port, "--no-start", *more)


def copied(said: str) -> tuple[int, int, int]:
    found = re.search(r"(\d+) files copied, (\d+) removed, (\d+) were there", said)
    assert found, said
    return int(found[1]), int(found[2]), int(found[3])


def test_only_what_has_changed_is_copied(deployed: Cable) -> None:
    count = len(deploying.hashes(image.cached("esp32")))
    assert copied(deploy(deployed)) == (0, 0, count)
    changed = deployed.folder / "app" / "node.mpy"
    changed.write_bytes(changed.read_bytes()[:-1])
    (deployed.folder / "umqtt5" / "core.mpy").unlink()
    assert copied(deploy(deployed)) == (2, 0, count - 2)
    assert deploying.hashes(image.cached("esp32")).items() <= deploying.hashes(deployed.folder).items()


def test_what_no_longer_belongs_is_removed_and_the_users_files_stay(deployed: Cable) -> None:
    (deployed.folder / "app" / "gone.mpy").write_bytes(b"of an older version")
    (deployed.folder / "app" / "node.py").write_text("shadows = 'node.mpy'")
    (deployed.folder / "pins.py").write_text("shadows = 'pins.mpy'")
    (deployed.folder / "notes.txt").write_text("mine")
    config = (deployed.folder / "config.json").read_text()
    assert copied(deploy(deployed))[:2] == (0, 3)
    assert not (deployed.folder / "app" / "node.py").exists()
    assert not (deployed.folder / "pins.py").exists()
    assert (deployed.folder / "notes.txt").read_text() == "mine"
    assert (deployed.folder / "config.json").read_text() == config


def test_what_came_over_the_air_makes_room_for_what_came_by_the_cable(deployed: Cable) -> None:
    (deployed.folder / "a" / "app").mkdir(parents=True)
    (deployed.folder / "a" / "app" / "node.mpy").write_bytes(b"of an update")
    (deployed.folder / "slot").write_text("a . -\n")
    said = deploy(deployed)
    assert copied(said)[:2] == (0, 2) and "these files run" in said
    assert not (deployed.folder / "slot").exists()
    assert "connected to" in tool("deploy", "--board", "esp32", "--port", deployed.port)


def test_it_is_started_and_its_first_lines_are_shown(deployed: Cable) -> None:
    said = tool("deploy", "--board", "esp32", "--port", deployed.port)
    assert "Wi-Fi: joined" in said and "dut: connected to" in said


def test_a_micropython_that_loads_other_mpy_files_is_told(plugged: Cable) -> None:
    with pytest.raises(Problem, match=r"loads .mpy version 6, these files are version 5: `make flash` it"):
        deploying.inventory(plugged.port, {"main.py": ""}, 5)


def test_a_full_file_system_is_told(plugged: Cable) -> None:
    (plugged.folder / "boot.py").write_text(_FULL)
    said = problem("deploy", "--board", "esp32", "--port", plugged.port)
    assert "its file system is full" in said and "make ls" in said


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


def test_ls_logs_and_erase(deployed: Cable) -> None:
    said = tool("ls", "--port", deployed.port)
    assert "config.json" in said and "umqtt5" in said and "avail" in said
    said = tool("logs", "--port", deployed.port, "--seconds", "8", "--restart")
    assert "dut: connected to" in said
    said = problem("erase", "--board", "esp32", "--port", deployed.port, "--files")
    assert "nothing is erased" in said and (deployed.folder / "config.json").exists()
    tool("erase", "--board", "esp32", "--port", deployed.port, "--files", "--yes")
    assert not list(deployed.folder.iterdir())
