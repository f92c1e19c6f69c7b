from __future__ import annotations

from collections.abc import Iterator

import pytest

from host_tests.device.observer import Desk, desk
from tools import broker


@pytest.fixture
def at_desk(any_broker: broker.Address) -> Iterator[Desk]:
    with desk(any_broker) as here:
        yield here
