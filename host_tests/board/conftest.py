from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host_tests.board.rig import Rig
from host_tests.board.simulated_board import Board as Cable
from tools import broker
from tools.broker import Address


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with broker.running("iotcore") as found:
        yield found


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tools keep is this test's: all boards of a kind have the same unique id."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def rig(tmp_path: Path, address: Address) -> Callable[[str], Rig]:
    return lambda key: Rig(key, tmp_path, address)


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[Cable]:
    """A board with MicroPython and nothing else."""
    with Cable(tmp_path / "files") as cable:
        yield cable


@pytest.fixture
def deployed(tmp_path: Path, address: Address) -> Iterator[Cable]:
    """A board that is a device already."""
    rig = Rig("esp32", tmp_path, address)
    rig.prepare()
    with Cable(rig.files) as cable:
        yield cable
