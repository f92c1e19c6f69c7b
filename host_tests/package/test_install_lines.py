"""The install lines of the documents, word by word, on a clean board and in a Python without packages.

mpremote asks the real hosts. A proxy answers in their place, with the files of a release.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from host_tests.board.simulated_board import SimulatedBoard
from host_tests.device.observer import observe
from host_tests.package.internet import Internet
from host_tests.package.released_clone import VERSION, Clone
from tools import broker
from tools.board import mpremote
from tools.paths import ROOT
from tools.publisher import read_publisher
from tools.vm import process

PROGRAM = """
import umqtt5
from umqtt5 import Client
client = Client(%r, %d, client_id="installed")
client.connect()
client.publish("test/installed/status", b"online", qos=1, retain=True, wait=5000)
client.disconnect()
print("version", umqtt5.__version__)
"""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PUBLISHER = read_publisher()
# a line of the documents with the version of the release, and the kind of files that it installs
LINES = (
    (f"mpremote mip install --index {PUBLISHER.mip_index} umqtt5", "mpy"),
    (f"mpremote mip install --index {PUBLISHER.mip_index} umqtt5@{VERSION}", "mpy"),
    (f"mpremote mip install --no-mpy --index {PUBLISHER.mip_index} umqtt5", "py"),
    (f"mpremote mip install {PUBLISHER.mip}/lib", "py"),
    (f"mpremote mip install {PUBLISHER.mip}/lib@v{VERSION}", "py"),
    ("mpremote mip install lib/package.json", "py"),
    ("mpremote mip install package.json", "mpy"),  # in the unpacked zip archive
)


@pytest.fixture(scope="module")
def address() -> Iterator[broker.Address]:
    with broker.run_broker("iotcore") as found:
        yield found


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with a released and tagged version, and with a later commit that breaks the library."""
    clone = Clone(tmp_path_factory.mktemp("published") / "project")
    clone.run("release", VERSION)
    clone.commit()
    clone.git("tag", f"v{VERSION}")
    with zipfile.ZipFile(clone.folder / "dist" / f"umqtt5-{VERSION}-mpy6.zip") as archive:
        archive.extractall(clone.folder / "build" / "unpacked")
    return clone


@pytest.fixture(scope="module")
def internet(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    """The hosts of the publisher after the release: the repository, and the site with the index for mip."""
    _, owner, name = PUBLISHER.repository.removeprefix("https://").split("/")
    site = urlsplit(PUBLISHER.site)

    def answer(host: str, path: str) -> bytes | None:
        if host == site.hostname and path.startswith(f"{site.path}/mip/"):
            file = clone.folder / "dist" / path.removeprefix(site.path + "/")
            return file.read_bytes() if file.is_file() else None
        prefix = f"/{owner}/{name}/"
        if host != "raw.githubusercontent.com" or not path.startswith(prefix):
            return None
        revision, _, file_name = path.removeprefix(prefix).partition("/")
        command = ["git", "show", f"{revision}:{file_name}"]
        done = subprocess.run(command, cwd=clone.folder, capture_output=True)
        return done.stdout if done.returncode == 0 else None

    hosts = ("raw.githubusercontent.com", str(site.hostname))
    with Internet(hosts, answer, tmp_path_factory.mktemp("ca")) as running:
        yield running


@pytest.fixture
def board(tmp_path: Path) -> Iterator[SimulatedBoard]:
    with SimulatedBoard(tmp_path / "files") as found:
        yield found


def run_line(line: str, board: SimulatedBoard, internet: Internet, folder: Path) -> str:
    """Run a line of mpremote, with the port of the board added."""
    program, *rest = shlex.split(line)
    assert program == "mpremote"
    done = subprocess.run(
        [sys.executable, "-m", program, "connect", board.port, *rest],
        cwd=folder,
        env={**os.environ, **internet.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("line", "kind"), LINES, ids=[line.removeprefix("mpremote mip ") for line, _ in LINES]
)
def test_mip_installs_the_library_and_a_program_uses_it(
    line: str,
    kind: str,
    board: SimulatedBoard,
    clone: Clone,
    internet: Internet,
    address: broker.Address,
    tmp_path: Path,
) -> None:
    folder = clone.folder / "build" / "unpacked" if line.endswith(" package.json") else clone.folder
    assert "Done" in run_line(line, board, internet, folder)
    installed = [path for path in (board.folder / "lib" / "umqtt5").rglob("*") if path.is_file()]
    assert len(installed) > 40 and {path.suffix for path in installed} == {f".{kind}"}
    (tmp_path / "program.py").write_text(PROGRAM % (address.host, address.port))
    with observe(address) as observer:
        output = mpremote.run(board.port, "run", str(tmp_path / "program.py"))
        assert f"version {VERSION}" in output
        observer.wait_until(lambda: observer.monitor.devices.get("installed"))


def test_each_install_line_of_the_documents_is_tested() -> None:
    tested = {line for line, _ in LINES}
    found = set()
    for page in PAGES:
        text = page.read_text()
        found |= {line.strip() for line in re.findall(r"mpremote mip install [^`|\n]+", text)}
    assert found >= {LINES[0][0], LINES[3][0], LINES[5][0]}
    # that of `make package`, which test_package.py installs
    assert found - tested <= {"mpremote mip install build/package/mpy-6/package.json"}


def test_a_version_that_is_not_published_is_reported(
    board: SimulatedBoard, clone: Clone, internet: Internet
) -> None:
    with pytest.raises(AssertionError, match="Package not found"):
        run_line(f"mpremote mip install {PUBLISHER.mip}/lib@v9.9.9", board, internet, clone.folder)
    assert any("/v9.9.9/" in url for url in internet.asked)


def test_a_board_mounts_the_romfs_image_and_imports_the_library_from_it(
    clone: Clone, address: broker.Address, tmp_path: Path
) -> None:
    """As MicroPython does at the start: it mounts the image at /rom, and /rom/lib is in sys.path."""
    image = clone.folder / "dist" / f"umqtt5-{VERSION}-mpy6.romfs"
    mount = (
        f"import sys, vfs\nvfs.mount(vfs.VfsRom(memoryview(open({str(image)!r}, 'rb').read())), '/rom')\n"
        "sys.path.insert(0, '/rom/lib')\n"
    )
    show = "\nprint(umqtt5.__file__)"
    code = mount + PROGRAM % (address.host, address.port) + show
    child = process.start_vm(["-c", code], module_path=[tmp_path], heap="512k", cwd=tmp_path)
    output, _ = child.communicate(timeout=60)
    assert output.splitlines() == [f"version {VERSION}", "/rom/lib/umqtt5/__init__.mpy"]


def test_the_released_wheel_is_installed_and_used_without_other_packages(
    clone: Clone, address: broker.Address, tmp_path: Path
) -> None:
    venv.create(tmp_path / "environment", with_pip=True)
    python = tmp_path / "environment" / "bin" / "python"
    (wheel,) = (clone.folder / "dist").glob("*.whl")
    command = [python, "-m", "pip", "install", "--quiet", "--no-index", wheel]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=120)
    done = subprocess.run(
        [python, "-c", PROGRAM % (address.host, address.port)],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == f"version {VERSION}\n", done.stderr
