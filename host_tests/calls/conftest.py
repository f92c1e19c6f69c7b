"""Restores the real clock and poller, which the simulation replaces in the client's module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def restore_real_clock_after() -> Iterator[None]:
    yield
    from host_tests.calls import answering_broker  # noqa: F401  it sets the module path

    from simulation import restore_real_clock  # isort: skip

    restore_real_clock()
