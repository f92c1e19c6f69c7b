"""The scripted broker of the unit tests."""

import sys

import pytest

from tools.paths import LIB, ROOT

for folder in (ROOT / "host_tests" / "unit", LIB):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(autouse=True)
def real_clock_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """`world` gives the client a clock of its own."""
    from umqtt5.core import client

    for name in ("ticks_ms", "sleep_ms", "poll"):
        monkeypatch.setattr(client, name, getattr(client, name))
