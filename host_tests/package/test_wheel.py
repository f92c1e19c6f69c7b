"""The wheel of the library for CPython: built, installed into a new environment offline, and used."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

from host_tests.types.checkers import run_mypy
from tools import broker, package
from tools.paths import LIB
from tools.vm import process

PROGRAM = """
import umqtt5
from umqtt5 import Client, Message, tls

client = Client(%r, %d, client_id="wheel")


@client.on("wheel/+", qos=1)
def show(message: Message) -> None:
    print(message.topic, message.payload.decode())


client.connect()
client.publish("wheel/version", umqtt5.__version__, qos=1, wait=5000)
client.poll(200)
client.disconnect()
"""


@pytest.fixture
def address() -> Iterator[broker.Address]:
    with broker.run_broker("iotcore") as found:
        yield found


def test_the_wheel_has_the_sources_and_the_types_of_the_library_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    expected = {
        path.relative_to(LIB).as_posix()
        for path in (LIB / "umqtt5").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"umqtt5/py.typed", "umqtt5/core/client.pyi", "umqtt5/cpython/compat.py"} <= expected
    home = f"umqtt5-{package.read_version()}.dist-info"
    rest = {f"{home}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    assert names == expected | rest
    assert wheel.name == f"umqtt5-{package.read_version()}-py3-none-any.whl"


def test_the_wheel_needs_no_other_package(wheel: Path) -> None:
    home = f"umqtt5-{package.read_version()}.dist-info"
    fields = message_from_bytes(zipfile.ZipFile(wheel).read(f"{home}/METADATA"))
    assert (fields["Name"], fields["Version"]) == ("umqtt5", package.read_version())
    assert "Requires-Dist" not in fields and "Provides-Extra" not in fields


def test_a_program_uses_the_installed_wheel(python: Path, address: broker.Address, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM % (address.host, address.port))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [python, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (f"wheel/version {package.read_version()}\n", "")


def test_mypy_knows_the_types_of_the_installed_wheel(python: Path, tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    program = tmp_path / "programs" / "program.py"
    program.write_text(PROGRAM % ("localhost", 1883))
    assert run_mypy(tmp_path, micropython=False, installed=python) == []
    program.write_text(PROGRAM % ("localhost", 1883) + "client.publish('a', 5)\n")
    (report,) = run_mypy(tmp_path, micropython=False, installed=python)
    assert "publish" in report.text


def test_micropython_has_the_same_version() -> None:
    code = "import umqtt5; from umqtt5 import __version__ as v; print(umqtt5.__version__ == v, v)"
    child = process.start_vm(["-c", code], module_path=[LIB])
    assert child.communicate(timeout=30)[0].strip() == f"True {package.read_version()}"


def test_package_writes_the_version_into_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    path = LIB / "umqtt5" / "__init__.py"
    old = package.read_version()
    assert package.render_lists()[path] == path.read_text()
    monkeypatch.setattr(package, "read_version", lambda: "12.3.4")
    assert package.render_lists()[path] == path.read_text().replace(f'"{old}"', '"12.3.4"')
