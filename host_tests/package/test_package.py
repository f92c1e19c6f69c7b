"""The library as others install it: by mip, mounted, frozen."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from host_tests.board.rig import problem, tool
from host_tests.board.simulated_board import Board as Cable
from host_tests.device.observer import desk
from tools import broker, package
from tools.board import definition, mpremote
from tools.broker import Address
from tools.bundle import image
from tools.bundle.bundler import APPLICATION
from tools.paths import BOARDS, FIRMWARE, LIB, ROOT

# what a program of a user's does first
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
    with broker.running("iotcore") as found:
        yield found


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[Cable]:
    with Cable(tmp_path / "files") as cable:
        yield cable


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("release")
    package.release(target)
    return next(target.glob("mpy-*"))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The checkout, as a site on the web."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(ROOT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def program(folder: Path, address: Address) -> str:
    path = folder / "program.py"
    path.write_text(PROGRAM % (address.host, address.port))
    return str(path)


def publishes(cable: Cable, address: Address, folder: Path) -> None:
    """What was installed is imported by a board, and a message of its arrives."""
    with desk(address) as watcher:
        said = mpremote.run(cable.port, "run", program(folder, address))
        assert said.strip() == "published"
        watcher.until(lambda: watcher.watch.devices.get("installed"))
        assert watcher.watch.devices["installed"].status == "online"


def same(folder: Path, listed: Path, home: Path) -> None:
    """Each file of a package has arrived as it is."""
    urls = json.loads(listed.read_text())["urls"]
    assert len(urls) > 20
    for there, here in urls:
        assert (folder / "lib" / there).read_bytes() == (home / here).read_bytes()


def test_mip_installs_the_sources_from_the_web(
    plugged: Cable, server: str, address: Address, tmp_path: Path
) -> None:
    mpremote.run(plugged.port, "mip", "install", f"{server}/lib/package.json")
    same(plugged.folder, LIB / "package.json", LIB)
    publishes(plugged, address, tmp_path)


def test_mip_installs_the_release_from_a_folder(
    plugged: Cable, release: Path, address: Address, tmp_path: Path
) -> None:
    mpremote.run(plugged.port, "mip", "install", str(release / "package.json"))
    same(plugged.folder, release / "package.json", release)
    publishes(plugged, address, tmp_path)


def test_the_release_says_what_is_in_it(release: Path) -> None:
    sums = (release.parent / "SHA256SUMS").read_text().splitlines()
    for line in sums:
        digest, name = line.split("  ")
        assert hashlib.sha256((release.parent / name).read_bytes()).hexdigest() == digest
    assert any(line.endswith(".zip") for line in sums)
    assert release.name == f"mpy-{(release / 'umqtt5' / 'core.mpy').read_bytes()[1]}"


def test_what_is_committed_fits_the_sources(tmp_path: Path) -> None:
    tool("package", "--check")
    for path, wanted in package.committed().items():
        assert path.read_text() == wanted


def test_mounted_it_is_used_from_here(plugged: Cable, address: Address, tmp_path: Path) -> None:
    with desk(address) as watcher:
        said = mpremote.run(plugged.port, "mount", str(LIB), "run", program(tmp_path, address), timeout=60)
        assert "published" in said
        watcher.until(lambda: watcher.watch.devices.get("installed"))
    assert not list(plugged.folder.iterdir())


def test_make_run_mounts_the_compiled_library(plugged: Cable, address: Address, tmp_path: Path) -> None:
    said = tool("run", "--port", plugged.port, program(tmp_path, address))
    assert "published" in said
    (tmp_path / "pins.py").write_text("import pins, app.config\nprint(sorted(pins.OUTPUTS))\n")
    said = tool("run", "--port", plugged.port, "--board", "esp32", tmp_path / "pins.py")
    assert "['lamp', 'relay']" in said
    (tmp_path / "fails.py").write_text("1 / 0\n")
    assert "ZeroDivisionError" in run_failing(plugged, tmp_path / "fails.py")
    assert "FILE=" in problem("run", "--port", plugged.port, tmp_path / "nowhere.py")


def run_failing(cable: Cable, path: Path) -> str:
    command = [sys.executable, "-m", "tools", "run", "--port", cable.port, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stdout + done.stderr


class Freezer:
    """The functions that MicroPython's documentation gives a manifest; what they would freeze."""

    def __init__(self) -> None:
        self.frozen: dict[str, Path] = {}
        self.included: list[str] = []

    def run(self, manifest: Path) -> None:
        names: dict[str, Any] = {
            "metadata": lambda **about: None,
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
        self, home: Path, name: str, files: Any = None, base_path: str = ".", opt: int | None = None
    ) -> None:
        folder = home / base_path / name
        for path in [folder / file for file in files] if files else folder.rglob("*.py"):
            assert path.is_file()
            self.frozen[path.relative_to(home / base_path).as_posix()] = path

    def _module(self, home: Path, name: str, base_path: str = ".", opt: int | None = None) -> None:
        assert (home / base_path / name).is_file()
        self.frozen[name] = (home / base_path / name).resolve()


@pytest.mark.parametrize("key", [key for key in definition.names() if key != "host"])
def test_the_manifest_freezes_what_a_board_is_given(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMQTT5_BOARD", key)
    monkeypatch.chdir(FIRMWARE)  # as MicroPython's build does for each manifest
    freezer = Freezer()
    freezer.run(FIRMWARE / "manifest.py")
    assert freezer.included == ["$(PORT_DIR)/boards/manifest.py"]
    # what is one file on a board is several here
    application = {path for path in image.sources(key) if not path.startswith("umqtt5/")}
    application -= {f"app/{name}.py" for name in APPLICATION.bundles}
    application |= {f"app/{name}.py" for name in APPLICATION.homes}
    library = {
        path.relative_to(LIB).as_posix()
        for path in (LIB / "umqtt5").rglob("*.py")
        if path.parent.name != "cpython"
    }
    assert set(freezer.frozen) == application | library
    assert freezer.frozen["pins.py"] == BOARDS / key / "pins.py"
