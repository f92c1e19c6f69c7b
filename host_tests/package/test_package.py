"""The library as users install it: with mip, mounted from the computer, or frozen into firmware."""

from __future__ import annotations

import datetime
import functools
import hashlib
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from host_tests.board.rig import run_failing_tool, run_tool
from host_tests.board.simulated_board import SimulatedBoard
from host_tests.device.observer import observe
from tools import broker, package
from tools.board import definition, mpremote
from tools.broker import Address
from tools.bundle import image
from tools.bundle.package_tree import APPLICATION, CPYTHON_ONLY
from tools.paths import BOARDS, FIRMWARE, LIB, ROOT

# a first user program: connect and publish
PROGRAM = """
from umqtt5 import Client
client = Client("%s", %d, client_id="installed")
client.connect()
client.publish("test/installed/status", b"online", qos=1, retain=True, wait=True)
client.disconnect()
print("published")
"""


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with broker.run_broker("iotcore") as broker_address:
        yield broker_address


@pytest.fixture
def micropython_board(tmp_path: Path) -> Iterator[SimulatedBoard]:
    with SimulatedBoard(tmp_path / "files") as board:
        yield board


@pytest.fixture(scope="module")
def built_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("release")
    package.build_release(target)
    return next(target.glob("mpy-*"))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An HTTP server for the files of the checkout; yields its URL."""

    class QuietHandler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(QuietHandler, directory=str(ROOT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def write_program(folder: Path, address: Address) -> str:
    """Write the program to a file and return its path."""
    path = folder / "program.py"
    path.write_text(PROGRAM % (address.host, address.port))
    return str(path)


def check_publishes(board: SimulatedBoard, address: Address, folder: Path) -> None:
    """Check that a program on the board imports the installed library and publishes a message."""
    with observe(address) as observer:
        output = mpremote.run(board.port, "run", write_program(folder, address))
        assert output.strip() == "published"
        observer.wait_until(lambda: observer.monitor.devices.get("installed"))
        assert observer.monitor.devices["installed"].status == "online"


def check_installed(folder: Path, package_json: Path, source: Path) -> None:
    """Check that each file of a package is on the board, unchanged."""
    urls = json.loads(package_json.read_text())["urls"]
    assert len(urls) > 20
    for target_path, source_path in urls:
        assert (folder / "lib" / target_path).read_bytes() == (source / source_path).read_bytes()


def test_mip_installs_the_sources_over_http(
    micropython_board: SimulatedBoard, server: str, address: Address, tmp_path: Path
) -> None:
    mpremote.run(micropython_board.port, "mip", "install", f"{server}/lib/package.json")
    check_installed(micropython_board.folder, LIB / "package.json", LIB)
    check_publishes(micropython_board, address, tmp_path)


def test_mip_installs_the_release_from_a_folder(
    micropython_board: SimulatedBoard, built_package: Path, address: Address, tmp_path: Path
) -> None:
    mpremote.run(micropython_board.port, "mip", "install", str(built_package / "package.json"))
    check_installed(micropython_board.folder, built_package / "package.json", built_package)
    check_publishes(micropython_board, address, tmp_path)


def test_the_release_has_checksums_a_zip_file_and_the_mpy_version_in_its_name(built_package: Path) -> None:
    sums = (built_package.parent / "SHA256SUMS").read_text().splitlines()
    for line in sums:
        digest, name = line.split("  ")
        assert hashlib.sha256((built_package.parent / name).read_bytes()).hexdigest() == digest
    assert any(line.endswith(".zip") for line in sums)
    assert built_package.name == f"mpy-{(built_package / 'umqtt5' / 'core.mpy').read_bytes()[1]}"


def test_the_committed_package_lists_match_the_sources(tmp_path: Path) -> None:
    run_tool("package", "--check")
    for path, expected in package.render_lists().items():
        assert path.read_text() == expected


def test_a_program_uses_the_mounted_library_and_nothing_is_copied_to_the_board(
    micropython_board: SimulatedBoard, address: Address, tmp_path: Path
) -> None:
    with observe(address) as observer:
        output = mpremote.run(
            *(micropython_board.port, "mount", str(LIB), "run", write_program(tmp_path, address)),
            timeout=200,
            execute=200,  # the program does not end before it has published
        )
        assert "published" in output
        observer.wait_until(lambda: observer.monitor.devices.get("installed"))
    assert not list(micropython_board.folder.iterdir())


def test_make_run_mounts_the_compiled_library(
    micropython_board: SimulatedBoard, address: Address, tmp_path: Path
) -> None:
    output = run_tool("run", "--port", micropython_board.port, write_program(tmp_path, address))
    assert "published" in output
    (tmp_path / "pins.py").write_text("import pins, app.config\nprint(sorted(pins.OUTPUTS))\n")
    output = run_tool("run", "--port", micropython_board.port, "--board", "esp32", tmp_path / "pins.py")
    assert "['lamp', 'relay']" in output
    (tmp_path / "fails.py").write_text("1 / 0\n")
    assert "ZeroDivisionError" in run_failing(micropython_board, tmp_path / "fails.py")
    assert "FILE=" in run_failing_tool("run", "--port", micropython_board.port, tmp_path / "nowhere.py")


def run_failing(board: SimulatedBoard, path: Path) -> str:
    """Run a program that fails on the board, and return what the tool prints."""
    command = [sys.executable, "-m", "tools", "run", "--port", board.port, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stdout + done.stderr


class Freezer:
    """Runs a manifest with replacements for MicroPython's functions; `frozen` has the files to freeze."""

    def __init__(self) -> None:
        self.frozen: dict[str, Path] = {}
        self.included: list[str] = []

    def run(self, manifest: Path) -> None:
        names: dict[str, Any] = {
            "metadata": lambda **fields: None,
            "include": lambda path: self._include(manifest, path),
            "package": lambda *a, **k: self._package(manifest.parent, *a, **k),
            "module": lambda *a, **k: self._module(manifest.parent, *a, **k),
            "options": SimpleNamespace(),
        }
        exec(compile(manifest.read_text(), str(manifest), "exec"), names)

    def _include(self, manifest: Path, path: str) -> None:
        if path.startswith("$("):
            self.included.append(path)
        else:
            self.run((manifest.parent / path).resolve())

    def _package(
        self, root: Path, name: str, files: Any = None, base_path: str = ".", opt: int | None = None
    ) -> None:
        folder = root / base_path / name
        for path in [folder / file for file in files] if files else folder.rglob("*.py"):
            assert path.is_file()
            self.frozen[path.relative_to(root / base_path).as_posix()] = path

    def _module(self, root: Path, name: str, base_path: str = ".", opt: int | None = None) -> None:
        assert (root / base_path / name).is_file()
        self.frozen[name] = (root / base_path / name).resolve()


@pytest.mark.parametrize("key", [key for key in definition.list_boards() if key != "host"])
def test_the_manifest_freezes_the_application_of_a_board_and_the_whole_library(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMQTT5_BOARD", key)
    monkeypatch.chdir(FIRMWARE)  # MicroPython's build does so for each manifest
    freezer = Freezer()
    freezer.run(FIRMWARE / "manifest.py")
    assert freezer.included == ["$(PORT_DIR)/boards/manifest.py"]
    # a bundle, which is one file on a board, is several files in the sources
    application = {path for path in image.collect_sources(key) if not path.startswith("umqtt5/")}
    application -= {f"app/{name}.py" for name in APPLICATION.bundles}
    application |= {f"app/{name}.py" for name in APPLICATION.file_of_module}
    library = {
        path.relative_to(LIB).as_posix()
        for path in (LIB / "umqtt5").rglob("*.py")
        if path.relative_to(LIB / "umqtt5").parts[0] not in CPYTHON_ONLY
    }
    assert set(freezer.frozen) == application | library
    assert freezer.frozen["pins.py"] == BOARDS / key / "pins.py"


def test_the_application_knows_about_when_it_was_released() -> None:
    """A clock that shows an earlier time than `BUILD_TIME` is not set; a date is the same in each build."""
    dates = re.findall(r"^## [0-9.]+ - ([0-9-]+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = datetime.datetime.fromisoformat(dates[0] + "T00:00:00+00:00")
    source = (FIRMWARE / "app/node/timestamps.py").read_text()
    build_time = int(re.findall(r"^BUILD_TIME = (\d+)$", source, re.MULTILINE)[0])
    age = released - datetime.datetime.fromtimestamp(build_time, datetime.timezone.utc)
    assert datetime.timedelta(0) <= age < datetime.timedelta(days=366)
