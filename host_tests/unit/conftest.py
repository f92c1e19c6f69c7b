"""On CPython the unit tests find their modules as in the VMs, and the firmware its clock."""

import sys
import time
import traceback
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent.parent / "lib", HERE.parent.parent / "firmware"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import umqtt5.cpython.compat  # noqa: E402, F401  has `micropython`, which the firmware wants, too

time.ticks_ms = lambda: time.monotonic_ns() // 1_000_000
time.ticks_diff = lambda a, b: a - b
time.ticks_add = lambda a, b: a + b
sys.print_exception = lambda error, file: file.write("".join(traceback.format_exception(error)).encode())


@pytest.fixture(autouse=True)
def real_clock_afterwards():
    """`world` gives the client a clock of its own; other tests of this process need the real one."""
    yield
    from simulation import real_clock

    real_clock()


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Tests run beside each other: what one writes is its own."""
    monkeypatch.chdir(tmp_path)
