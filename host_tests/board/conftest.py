from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host_tests.board.rig import Rig
from host_tests.board.simulated_board import SimulatedBoard
from tools import broker
from tools.broker import Address


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    """Address of an iotcore broker."""
    with broker.run_broker("iotcore") as broker_address:
        yield broker_address


@pytest.fixture(autouse=True)
def _private_state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own state folder, because simulated boards of one kind share a unique ID."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def make_rig(tmp_path: Path, address: Address) -> Callable[[str], Rig]:
    """A function that returns a rig for a board in `boards/`."""
    return lambda key: Rig(key, tmp_path, address)


@pytest.fixture
def micropython_board(tmp_path: Path) -> Iterator[SimulatedBoard]:
    """A board with MicroPython and an empty filesystem."""
    with SimulatedBoard(tmp_path / "files") as board:
        yield board


@pytest.fixture
def deployed_board(tmp_path: Path, address: Address) -> Iterator[SimulatedBoard]:
    """A board with the device application and its config."""
    rig = Rig("esp32", tmp_path, address)
    rig.preinstall()
    with SimulatedBoard(rig.filesystem) as board:
        yield board
