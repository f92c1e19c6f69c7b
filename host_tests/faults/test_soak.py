"""A short soak test: 3,000 messages over a network with random faults. `make soak` runs a long one."""

from __future__ import annotations

import pytest

from host_tests.conftest import NO_MOSQUITTO
from host_tests.faults import soak
from tools import broker


def test_a_short_soak_loses_no_message_and_no_heap() -> None:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    run = soak.soak(3000, seed=3, seconds=90, show=False)
    assert soak.failures(run, 3000) == [], run.report
    assert run.report["connects"] >= 2
    free = [row[1] for row in soak.samples(run)][1:]
    assert min(free) > 0.9 * max(free), free
