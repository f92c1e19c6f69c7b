"""Module paths, and the functions of MicroPython's `time` and `sys` that the firmware calls."""

import gc
import sys
import time
import traceback
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent.parent / "lib", HERE.parent.parent / "firmware"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import umqtt5.cpython.compat  # noqa: E402, F401  it provides `micropython`

time.ticks_ms = lambda: time.monotonic_ns() // 1_000_000
time.ticks_diff = lambda a, b: a - b
time.ticks_add = lambda a, b: a + b
gc.mem_free = gc.mem_alloc = lambda: 100_000
gc.collect = lambda: 0  # takes 0.1 s, because pytest has many objects
sys.print_exception = lambda error, file: file.write("".join(traceback.format_exception(error)).encode())


@pytest.fixture(autouse=True)
def restore_real_network_after():
    """Restore the real sockets, which the simulations replace in modules of the library."""
    yield
    from simulated_dns import restore_real_network

    restore_real_network()


@pytest.fixture(autouse=True)
def restore_firmware_modules():
    """Restore the functions that a test replaces in modules of the firmware, such as clocks."""
    saved = {
        name: dict(vars(module))
        for name, module in list(sys.modules.items())
        if name.startswith(("app.", "sensors.")) and hasattr(module, "__file__")
    }
    yield
    for name, values in saved.items():
        if name in sys.modules:
            vars(sys.modules[name]).update(values)


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    """Run each test in its own directory, because tests run in parallel."""
    monkeypatch.chdir(tmp_path)
