from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools import broker

NO_MOSQUITTO = "mosquitto is neither on the PATH nor could it be installed"


@pytest.fixture(scope="session")
def iotcore() -> Iterator[broker.Address]:
    with broker.iotcore() as address:
        yield address


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[broker.Address]:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    with broker.Mosquitto("set_tcp_nodelay true", "max_queued_messages 2000") as running:
        yield running.address


@pytest.fixture(scope="session")
def ejabberd() -> Iterator[broker.Address]:
    if not broker.find_ejabberd():
        pytest.skip("ejabberd is neither here nor could it be installed")
    with broker.ejabberd() as address:
        yield address


@pytest.fixture(params=["iotcore", "mosquitto", "ejabberd"])
def any_broker_with_ejabberd(request: pytest.FixtureRequest) -> broker.Address:
    address: broker.Address = request.getfixturevalue(request.param)
    return address


@pytest.fixture(params=["iotcore", "mosquitto"])
def any_broker(request: pytest.FixtureRequest) -> broker.Address:
    address: broker.Address = request.getfixturevalue(request.param)
    return address
