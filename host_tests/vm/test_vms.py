"""The unit tests in the MicroPython VMs, and proof that core and journal allocate nothing per message."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from host_tests.vms import run_32, run_64
from tools.paths import FIRMWARE, LIB

HERE = Path(__file__).parent
UNIT = HERE.parent / "unit"
MODULES = sorted(path.stem for path in UNIT.glob("test_*.py"))
PATHS = [LIB, FIRMWARE, UNIT]


def passed(output: str) -> int:
    """Return the number of passed tests. Raises AssertionError if one failed or there is no summary."""
    summary = re.search(r"^(\d+) passed, (\d+) failed$", output, re.MULTILINE)
    assert summary and summary[2] == "0", output
    return int(summary[1])


@pytest.mark.parametrize("module", MODULES)
def test_the_unit_tests_pass_on_the_64_bit_vm(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert passed(run_64([str(UNIT / "run_tests.py"), module], PATHS)) > 0


@pytest.mark.parametrize("module", MODULES)
def test_the_unit_tests_pass_on_the_32_bit_vm(module: str) -> None:
    assert passed(run_32(f"import run_tests\nrun_tests.main([{module!r}])", PATHS)) > 0


def parse_cases(output: str) -> dict[str, tuple[int, bool]]:
    """Return (bytes allocated, whether it ran with the heap locked) by case."""
    rows = re.findall(r"^(\w+) (-?\d+) (True|False)$", output, re.MULTILINE)
    return {name: (int(size), locked == "True") for name, size, locked in rows}


def check_no_allocation(cases: dict[str, tuple[int, bool]], count: int = 14) -> None:
    """Check that there are `count` cases, none of which allocates."""
    assert len(cases) == count, cases
    assert all(case == (0, True) for case in cases.values()), cases


def test_the_core_allocates_nothing_on_the_64_bit_vm() -> None:
    check_no_allocation(parse_cases(run_64([str(HERE / "alloc.py")], [LIB])))


def test_the_core_allocates_nothing_on_the_32_bit_vm() -> None:
    check_no_allocation(parse_cases(run_32("import alloc\nalloc.main()", [LIB, HERE])))


def test_the_journal_allocates_nothing_on_the_64_bit_vm(tmp_path: Path) -> None:
    code = "import journal_alloc\njournal_alloc.main(%r)"
    check_no_allocation(parse_cases(run_64(["-c", code % str(tmp_path / "outbox")], [LIB, HERE])), 5)


def test_the_journal_allocates_nothing_on_the_32_bit_vm() -> None:
    check_no_allocation(parse_cases(run_32("import journal_alloc\njournal_alloc.main()", [LIB, HERE])), 5)


def test_a_websocket_server_that_sends_without_end_needs_no_heap() -> None:
    output = run_64([str(HERE / "websocket_small_heap.py")], [LIB], heap="80k")
    rows = re.findall(r"^([\w ,]+): (-?\d+) bytes: (.*)$", output, re.MULTILINE)
    errors = {name: error for name, _, error in rows}
    assert len(rows) == 16, output
    assert max(int(size) for _, size, _ in rows) < 1000, output  # the text of the error
    endless = {name for name, error in errors.items() if "exceeds 100 lines or 4096 bytes" in error}
    assert len(endless) == 10, output
    assert "too long" in errors["a larger frame"] and "1008 policy" in errors["a close"], output
    working = {name for name, error in errors.items() if error == "None"}
    assert working == {"pings", "empty frames", "a message without end", "the largest frame"}, output
