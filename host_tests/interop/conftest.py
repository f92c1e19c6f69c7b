from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from host_tests.interop import EXAMPLES
from host_tests.interop.codecs import MqttPacket, available_codecs

# the examples are the same in each run, so that a failure can be reproduced; EXAMPLES=... draws new ones
settings.register_profile(
    "interop",
    derandomize="EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    # without Phase.explain, which traces each line and takes most of the time
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("interop")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # shrinking a failing example may take minutes
        if "interop" in item.path.parts:
            item.add_marker(pytest.mark.timeout(0 if "EXAMPLES" in os.environ else 600))


@pytest.fixture(scope="session")
def codecs() -> Iterator[list[Any]]:
    """Yield the available codecs; print why others are missing."""
    available, missing = available_codecs()
    for reason in missing:
        print(reason)
    yield available
    for codec in available:
        if isinstance(codec, MqttPacket):
            codec.close()
