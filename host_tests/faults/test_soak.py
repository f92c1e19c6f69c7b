"""A short soak test: see `soak_run`. `make soak` runs a long one."""

from __future__ import annotations

import socket

import pytest

from host_tests.conftest import require_mosquitto
from host_tests.faults import soak_run
from host_tests.faults.faulty_dns import TRAP

SECONDS = 20


def _has_loopback_network() -> bool:
    """Return whether all addresses of 127.0.0.0/8 can be used, as on Linux."""
    try:
        socket.create_server((TRAP, 0)).close()
    except OSError:
        return False
    return True


@pytest.mark.timeout(SECONDS + 220)
def test_a_short_soak_violates_no_invariant() -> None:
    require_mosquitto()
    if not _has_loopback_network():
        pytest.skip("this system has only one loopback address")
    run = soak_run.SoakRun(seed=3, seconds=SECONDS)
    run.run()
    assert run.failures() == [], run.figures()
    assert run.report["link"]["connects"] >= 2
    assert run.report["lookups"] >= 2
    assert run.incidents["restart"] + run.incidents["kill"] >= 1
    accepted, refused = run.report["scheduled_publishes"]
    assert accepted > 50 and refused > 50, run.figures()
