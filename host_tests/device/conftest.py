from __future__ import annotations

from collections.abc import Iterator

import pytest

from host_tests.device.observer import Observer, observe
from tools import broker


@pytest.fixture
def observer(any_broker: broker.Address) -> Iterator[Observer]:
    with observe(any_broker) as observer:
        yield observer
