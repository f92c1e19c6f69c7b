"""Fixtures of all tests: the address of a running broker (iotcore, mosquitto, ejabberd), the real clock."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tools import broker

# brokers that tests run are not found by commands of this user, nor are those of the user by tests
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="umqtt5-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# Programs that tests interrupt inherit what a shell does for its background jobs: it ignores SIGINT.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

NO_MOSQUITTO = "mosquitto is not installed"


@pytest.fixture(autouse=True)
def restore_real_clock_after() -> Iterator[None]:
    """Restore the real clock and poller of the client, which `simulation` replaces, also after a failure."""
    yield
    simulation = sys.modules.get("simulation")
    if simulation:
        simulation.restore_real_clock()


def require_mosquitto() -> None:
    """Skip the test if mosquitto is not installed."""
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)


@pytest.fixture(scope="session")
def iotcore() -> Iterator[broker.Address]:
    """Address of an iotcore broker."""
    with broker.iotcore() as address:
        yield address


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[broker.Address]:
    """Address of a mosquitto broker."""
    require_mosquitto()
    with broker.Mosquitto("set_tcp_nodelay true", "max_queued_messages 2000") as running:
        yield running.address


@pytest.fixture(scope="session")
def ejabberd() -> Iterator[broker.Address]:
    """Address of an ejabberd broker."""
    if not broker.find_ejabberd():
        pytest.skip("ejabberd is not installed")
    with broker.ejabberd() as address:
        yield address


@pytest.fixture(params=["iotcore", "mosquitto", "ejabberd"])
def any_broker_with_ejabberd(request: pytest.FixtureRequest) -> broker.Address:
    """Address of each of the three brokers in turn."""
    address: broker.Address = request.getfixturevalue(request.param)
    return address


@pytest.fixture(params=["iotcore", "mosquitto"])
def any_broker(request: pytest.FixtureRequest) -> broker.Address:
    """Address of iotcore, then of mosquitto."""
    address: broker.Address = request.getfixturevalue(request.param)
    return address
