"""MicroPython runs scheduled functions that publish while the library works; in both VMs."""

from __future__ import annotations

import re
from pathlib import Path

from host_tests.vms import run_32, run_64
from tools.paths import LIB

HERE = Path(__file__).parent


def check(output: str) -> None:
    """Check the output of `scheduled`, which has checked that each accepted message has arrived once."""
    assert "allocated 0\n" in output, output
    rows = re.findall(r"^qos (\d) (\d+) (\d+)$", output, re.MULTILINE)
    assert [row[0] for row in rows] == ["0", "1", "2"], output
    # most calls interrupt the client while it works, because it does nothing else
    assert all(int(accepted) > 50 and int(refused) > 500 for _, accepted, refused in rows), output


def test_scheduled_functions_publish_on_the_64_bit_vm() -> None:
    check(run_64([str(HERE / "scheduled.py")], [LIB]))


def test_scheduled_functions_publish_on_the_32_bit_vm() -> None:
    check(run_32("import scheduled\nscheduled.main()", [LIB, HERE]))
