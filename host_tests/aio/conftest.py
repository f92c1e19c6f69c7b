"""Makes the modules of `host_tests/unit` importable: the simulated broker and its clock."""

import sys

import pytest

from tools.paths import LIB, ROOT

for folder in (ROOT / "host_tests" / "unit", LIB):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(autouse=True)
def restore_real_clock_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the real clock of the client after each test, because `simulation` replaces it."""
    from umqtt5.core import connection

    for name in ("ticks_ms", "sleep_ms", "poll"):
        monkeypatch.setattr(connection, name, getattr(connection, name))
