"""Updates that do not work are rolled back, however the program ends: the real VM on a simulated ESP32.

The updates are written to the flash of the board directly, as a download leaves them.
"""

from __future__ import annotations

import json
import shutil
from binascii import crc32
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from host_tests.simulated_hardware import RESET, WATCHDOG, SimulatedChip
from tools.bundle import image

_WATCHDOG_MS = 6000  # instead of 8000, and 0.2 s instead of 5 s before a restart, to save time


def write_image(folder: Path, changes: dict[str, tuple[str, str]]) -> None:
    """Compile an image in which each file of `changes` has a text replaced by another one."""
    files = image.collect_sources("esp32")
    for path, (old, new) in changes.items():
        assert files[path].count(old) == 1, (path, old)
        files[path] = files[path].replace(old, new)
    image.compile_image(files, folder)


@pytest.fixture(scope="module")
def good_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "flash"
    write_image(
        folder,
        {
            "slot.py": ("_WATCHDOG_TIMEOUT = 8000", f"_WATCHDOG_TIMEOUT = {_WATCHDOG_MS}"),
            "main.py": ("_RESTART_SECONDS = 5", "_RESTART_SECONDS = 0.2"),
        },
    )
    return folder


def write_archive(image_folder: Path, slot: Path) -> None:
    """Write the files of an image as an update stores them: firmware/archive.py describes the format."""
    slot.mkdir()
    content = index = b""
    for path in sorted(image_folder.rglob("*")):
        name = path.relative_to(image_folder).as_posix()
        if name in ("boot.py", "main.py", "slot.mpy"):  # an update does not replace these files
            continue
        offset = 0xFFFFFF if path.is_dir() else len(content)
        content += b"" if path.is_dir() else path.read_bytes()
        index += crc32(name.encode()).to_bytes(4, "big") + offset.to_bytes(3, "big")
    (slot / "files").write_bytes(content)
    (slot / "index").write_bytes(index)


@contextmanager
def device(
    good: Path, folder: Path, update: Path | None = None, tries: int = 0, **more: Any
) -> Iterator[SimulatedChip]:
    """Run a board, with an update in its folder `a` that is not confirmed; `more` are additional settings."""
    shutil.copytree(good, folder)
    if update:
        write_archive(update, folder / "a")
        (folder / "a" / "version").write_text("7\n")
        (folder / "slot").write_text(f"a . {tries}\n")
    settings = {
        "device": "dut",
        "broker": {"host": "127.0.0.1", "port": 9},
        "wifi": {"ssid": "home"},
        "sensors": [{"kind": "chip_temperature"}],
        "actuators": [{"name": "lamp", "pin": "lamp"}],
        "ntp": [],
        "watchdog": False,
        "update": {"key": "0f" * 32},
        **more,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    with SimulatedChip(folder, heap="208k") as running:  # the subject of these tests is not memory
        yield running


_NODE = "class Health:"
# changes of an image that does not work
_FAILURES = {
    "an exception at import": {"app/node.py": (_NODE, f"raise MemoryError('bad')\n{_NODE}")},
    "sys.exit at import": {"app/node.py": (_NODE, f"sys.exit()\n{_NODE}")},
    "sys.exit in pins": {"pins.py": ("WIFI = True", "import sys; sys.exit(0)")},
    "an exception in pins": {"pins.py": ("WIFI = True", "WIFI = nothing")},
    "a generator exit": {"app/crash.py": ("class _Truncated", "raise GeneratorExit\nclass _Truncated")},
    "a required field that the config has not": {
        "app/config.py": (
            "'discovery': (str, None",
            "'site': (str, REQUIRED, 1, 9, 'a'), 'discovery': (str, None",
        )
    },
    "a return from the application": {
        "app/node.py": ("        while True:\n            node.step()", "        pass")
    },
    "sys.exit while it runs": {"app/node.py": ("            node.step()", "            sys.exit(0)")},
    "no function run": {"app/node.py": ("def run(config", "def start(config")},
}


def check_rolled_back(running: SimulatedChip, *codes: int) -> None:
    """Wait until the version of the cable runs again, after three starts that ended with these exit codes."""
    running.wait_for_line("dut: no connection", 90)
    assert len(running.exit_codes) == 3 and set(running.exit_codes) <= set(codes), list(running.lines)
    assert (running.folder / "slot").read_text() == ". a !\n"
    assert not (running.folder / "crash_count").exists()  # the crashes of the update do not count


@pytest.mark.parametrize("failure", _FAILURES)
def test_a_version_that_ends_is_restarted_and_rolled_back(
    failure: str, good_image: Path, tmp_path: Path
) -> None:
    write_image(tmp_path / "bad", _FAILURES[failure])
    with device(good_image, tmp_path / "flash", tmp_path / "bad") as running:
        check_rolled_back(running, RESET)


# an update with an empty file is refused before it is installed
@pytest.mark.parametrize("data", [b"M", b"M\x05\x00\x1f", b"\xff" * 900, b"M\x06\x00\x1f\x00"])
def test_a_version_with_a_file_that_is_not_bytecode_is_rolled_back(
    data: bytes, good_image: Path, tmp_path: Path
) -> None:
    update = tmp_path / "bad"
    shutil.copytree(good_image, update)
    (update / "app" / "crash.mpy").write_bytes(data)
    with device(good_image, tmp_path / "flash", update) as running:
        check_rolled_back(running, RESET, WATCHDOG)


@pytest.mark.parametrize("path", ["pins.py", "app/node.py"])
def test_a_version_that_hangs_at_import_is_reset_by_the_watchdog_and_rolled_back(
    path: str, good_image: Path, tmp_path: Path
) -> None:
    old = "WIFI = True" if path == "pins.py" else _NODE
    write_image(tmp_path / "bad", {path: (old, f"while True:\n    pass\n{old}")})
    with device(good_image, tmp_path / "flash", tmp_path / "bad") as running:
        check_rolled_back(running, WATCHDOG)


def test_a_version_that_works_is_not_reset_by_its_watchdog(good_image: Path, tmp_path: Path) -> None:
    with device(good_image, tmp_path / "flash", good_image) as running:
        running.wait_for_line("dut: no connection")
        running.wait_until(lambda: len([line for line in running.lines if "no connection" in line]) > 4, 60)
        assert not running.exit_codes and (tmp_path / "flash" / "slot").read_text() == "a . 1\n"


def test_ctrl_c_stops_a_version_that_is_not_confirmed_and_its_start_does_not_count(
    good_image: Path, tmp_path: Path
) -> None:
    with device(good_image, tmp_path / "flash", good_image, tries=2) as running:
        running.wait_for_line("dut: no connection")
        running.interrupt()
        running.wait_for_line("dut: stopped. Press Ctrl-D to start again.")
        running.wait_for_line("To keep the prompt: open('no_autostart', 'w').close()")
        assert (tmp_path / "flash" / "slot").read_text() == "a . 2\n"


def test_a_version_whose_starts_cannot_be_counted_does_not_run(good_image: Path, tmp_path: Path) -> None:
    """The flash is full, which a folder in place of `slot.new` simulates."""
    write_image(tmp_path / "bad", _FAILURES["an exception at import"])
    flash = tmp_path / "flash"
    (tmp_path / "image" / "slot.new" / "full").mkdir(parents=True)
    shutil.copytree(good_image, tmp_path / "image", dirs_exist_ok=True)
    with device(tmp_path / "image", flash, tmp_path / "bad") as running:
        running.wait_for_line("the version in a is not tried")
        running.wait_for_line("dut: no connection")
        assert not running.exit_codes and (flash / "slot").read_text() == "a . 0\n"


def test_an_exception_in_a_version_of_the_cable_restarts_the_board(good_image: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "bad", _FAILURES["an exception at import"])
    main = (good_image / "main.py").read_text()
    (tmp_path / "bad" / "main.py").write_text(main)
    with device(tmp_path / "bad", tmp_path / "flash") as running:
        running.wait_until(lambda: running.exit_codes == [RESET] * 4, 60)
        running.wait_for_line("umqtt5: restarting in 0 s")
        running.wait_for_line("MemoryError: bad")


def test_a_damaged_slot_module_restarts_the_board(good_image: Path, tmp_path: Path) -> None:
    shutil.copytree(good_image, tmp_path / "bad")
    (tmp_path / "bad" / "slot.mpy").write_bytes(b"\xff" * 100)
    with device(tmp_path / "bad", tmp_path / "flash") as running:
        running.wait_until(lambda: running.exit_codes == [RESET] * 2, 60)


def test_an_invalid_config_stops_a_version_of_the_cable(good_image: Path, tmp_path: Path) -> None:
    with device(good_image, tmp_path / "flash", site="home") as running:
        assert running.wait() == 0  # the prompt
        running.wait_for_line("config.json: site: unknown")
        assert not (tmp_path / "flash" / "crash_count").exists()
