"""`make deploy`, `ls`, `logs` and `erase` with the real mpremote on a simulated board."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from host_tests.board.rig import run_failing_tool, run_tool
from host_tests.board.simulated_board import SimulatedBoard
from tools import deploy as deploying
from tools.board import identity
from tools.board.definition import load_board
from tools.bundle import image
from tools.errors import UserError


def deploy(board: SimulatedBoard, *more: object) -> str:
    return run_tool("deploy", "--board", "esp32", "--port", board.port, "--no-start", *more)


def copied(output: str) -> tuple[int, int, int]:
    """Return the numbers of files copied, removed and unchanged."""
    found = re.search(r"(\d+) files copied, (\d+) removed, (\d+) unchanged", output)
    assert found, output
    return int(found[1]), int(found[2]), int(found[3])


def test_only_changed_files_are_copied(deployed_board: SimulatedBoard) -> None:
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


def test_obsolete_files_are_removed_and_user_files_stay(deployed_board: SimulatedBoard) -> None:
    (deployed_board.folder / "app" / "gone.mpy").write_bytes(b"old version")
    (deployed_board.folder / "app" / "node.py").write_text("shadows = 'node.mpy'")
    (deployed_board.folder / "pins.py").write_text("shadows = 'pins.mpy'")
    (deployed_board.folder / "notes.txt").write_text("mine")
    config = (deployed_board.folder / "config.json").read_text()
    assert copied(deploy(deployed_board))[:2] == (0, 3)
    assert not (deployed_board.folder / "app" / "node.py").exists()
    assert not (deployed_board.folder / "pins.py").exists()
    assert (deployed_board.folder / "notes.txt").read_text() == "mine"
    assert (deployed_board.folder / "config.json").read_text() == config


def test_deploy_removes_an_over_the_air_update(deployed_board: SimulatedBoard) -> None:
    (deployed_board.folder / "a").mkdir(parents=True)
    (deployed_board.folder / "a" / "files").write_bytes(b"update")
    (deployed_board.folder / "slot").write_text("a . -\n")
    (deployed_board.folder / "base_removed").touch()
    output = deploy(deployed_board)
    assert not (deployed_board.folder / "base_removed").exists()
    assert copied(output)[:2] == (0, 3) and "the deployed files run now" in output
    assert not (deployed_board.folder / "slot").exists()
    assert "connected to" in run_tool("deploy", "--board", "esp32", "--port", deployed_board.port)


def test_a_deployment_keeps_the_record_of_a_rollback_and_makes_earlier_offers_invalid(
    deployed_board: SimulatedBoard,
) -> None:
    (deployed_board.folder / "rolled_back").write_text("7 7 bad\n")
    (deployed_board.folder / "update_nonce").write_text("0" * 32)
    deploy(deployed_board)
    assert (deployed_board.folder / "rolled_back").read_text() == "7 7 bad\n"
    assert not (deployed_board.folder / "update_nonce").exists()


@pytest.mark.parametrize(
    "line, line_new", [("a . -", None), ("a b 1", "b a 0"), (None, "a . 2"), ("b a !", "")]
)
def test_a_power_cut_during_a_deployment_leaves_a_complete_version_selected(
    line: str | None, line_new: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"main.py": "1", "app/node.mpy": "2", "a/app/node.mpy": "3", "a/version": "4", "aa.mpy": "7"}
    found |= {"b/app/node.mpy": "5", "b/version": "6"}
    texts = {"slot": line, "slot.new": line_new}
    found |= {path: "x" for path, text in texts.items() if text is not None}
    plan = deploying.plan_sync({"main.py": "8", "app/node.mpy": "2"}, dict(reversed(found.items())))
    statements: list[str] = []
    monkeypatch.setattr(
        deploying.mpremote, "run", lambda port, *words, **options: statements.extend(words[1].split("\n"))
    )
    deploying.apply_plan("port", Path(), plan)
    removed = [statement[len("os.remove('") : -2] for statement in statements if "os.remove" in statement]
    assert sorted(removed) == sorted(set(found) - {"main.py", "app/node.mpy"})
    for count in range(len(removed) + 1):
        left = set(found) - set(removed[:count])
        # as firmware/slot.py reads it
        selected = (
            next((texts[path] for path in ("slot", "slot.new") if path in left and texts[path]), "") or "."
        )
        for folder in selected.split()[:2]:  # the current one, and the one after a rollback
            files = {path for path in found if path.startswith(f"{folder}/")}
            assert files <= left, (count, selected)
        if count:  # a removed selection never selects another version than before
            assert selected == "." or selected == (line or line_new)


def test_the_device_is_started_and_its_first_lines_are_printed(deployed_board: SimulatedBoard) -> None:
    output = run_tool("deploy", "--board", "esp32", "--port", deployed_board.port)
    assert "Wi-Fi: connected" in output and "dut: connected to" in output


def test_an_incompatible_mpy_version_is_reported(micropython_board: SimulatedBoard) -> None:
    with pytest.raises(UserError, match=r"loads .mpy files of version 6, but these files have version 5"):
        deploying.read_board_hashes(micropython_board.port, {"main.py": ""}, 5, load_board("esp32"))


def test_a_full_filesystem_is_reported(micropython_board: SimulatedBoard) -> None:
    (micropython_board.folder / "boot.py").write_text(_FULL)
    output = run_failing_tool("deploy", "--board", "esp32", "--port", micropython_board.port)
    assert "the file system of the board is full" in output and "make ls" in output


# boot.py that mounts a filesystem of 8 KB in place of the folder
_FULL = """
import os, vfs
class RamDisk:
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
disk = RamDisk()
vfs.VfsLfs2.mkfs(disk)
vfs.mount(disk, "/small")
os.chdir("/small")
"""


def test_ls_lists_files_logs_prints_output_and_erase_deletes_files(deployed_board: SimulatedBoard) -> None:
    output = run_tool("ls", "--port", deployed_board.port)
    assert "config.json" in output and "umqtt5" in output and "avail" in output
    output = run_tool("logs", "--port", deployed_board.port, "--seconds", "8", "--restart")
    assert "dut: connected to" in output
    output = run_failing_tool("erase", "--board", "esp32", "--port", deployed_board.port, "--files-only")
    assert "nothing was erased" in output and (deployed_board.folder / "config.json").exists()
    run_tool("erase", "--board", "esp32", "--port", deployed_board.port, "--files-only", "--yes")
    assert not list(deployed_board.folder.iterdir())


def test_a_board_of_another_family_is_not_changed(tmp_path: Path) -> None:
    """`erase`, `deploy` and `provision` check what is at the other end, before they change anything."""
    with SimulatedBoard(tmp_path / "other") as board:
        (board.folder / "precious.txt").write_text("mine")
        for command in (("erase", "--yes", "--files-only"), ("deploy",), ("provision", "--set", "health=5")):
            error = run_failing_tool(*command, "--board", "rpi_pico_w", "--port", board.port)
            assert "runs on esp32" in error and "Nothing was changed" in error
        assert {path.name for path in board.folder.iterdir()} == {"precious.txt"}


@pytest.mark.parametrize(
    "output, problem",
    [
        ("board esp32 ESP32_GENERIC", ""),
        ("boot\nboard esp32 -", ""),
        ("board esp32 MY_OWN_BUILD", ""),
        ("board esp32 ESP32_GENERIC_S3", "BOARD=esp32_s3"),
        ("board linux -", "runs on linux"),
        ("board rp2 RPI_PICO_W", "runs on rp2"),
        ("board", "an unknown platform"),
        ("", "an unknown platform"),
    ],
)
def test_the_answer_of_a_board_is_checked(output: str, problem: str) -> None:
    if not problem:
        identity.check_output(output, "port", load_board("esp32"))
        return
    with pytest.raises(UserError, match=problem):
        identity.check_output(output, "port", load_board("esp32"))
