from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from simulation import real_clock

from host_tests.interop import EXAMPLES
from host_tests.interop import codecs as bench

# the same examples in each run: what fails once fails always. `make judges EXAMPLES=1000` draws others
settings.register_profile(
    "judges",
    derandomize="EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    # without the phase that explains a failure: it traces each line, which takes most of the time
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("judges")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # a failure is made small, which may take minutes
        if "judges" in item.path.parts:
            item.add_marker(pytest.mark.timeout(0 if "EXAMPLES" in os.environ else 600))


@pytest.fixture(scope="session")
def judges() -> Iterator[list[Any]]:
    here, missing = bench.available()
    for why in missing:
        print(why)
    yield here
    for judge in here:
        if isinstance(judge, bench.MqttPacket):
            judge.close()


@pytest.fixture(scope="module", autouse=True)
def real_clock_afterwards() -> Iterator[None]:
    yield
    real_clock()
