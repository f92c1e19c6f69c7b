"""The unit tests once more inside the VMs, and what the core allocates there."""

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
    """How many tests the VM passed; fails where one failed or none ran."""
    closing = re.search(r"^(\d+) passed, (\d+) failed$", output, re.MULTILINE)
    assert closing and closing[2] == "0", output
    return int(closing[1])


@pytest.mark.parametrize("module", MODULES)
def test_units_on_the_64_bit_vm(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert passed(run_64([str(UNIT / "run_tests.py"), module], PATHS)) > 0


@pytest.mark.parametrize("module", MODULES)
def test_units_on_the_32_bit_vm(module: str) -> None:
    assert passed(run_32(f"import run_tests\nrun_tests.main([{module!r}])", PATHS)) > 0


def costs(output: str) -> dict[str, tuple[int, bool]]:
    """Name: bytes allocated, ran with the heap locked."""
    rows = re.findall(r"^(\w+) (-?\d+) (True|False)$", output, re.MULTILINE)
    return {name: (int(size), locked == "True") for name, size, locked in rows}


def check(found: dict[str, tuple[int, bool]], cases: int = 14) -> None:
    assert len(found) == cases, found
    assert all(cost == (0, True) for cost in found.values()), found


def test_the_core_allocates_nothing_on_the_64_bit_vm() -> None:
    check(costs(run_64([str(HERE / "alloc.py")], [LIB])))


def test_the_core_allocates_nothing_on_the_32_bit_vm() -> None:
    check(costs(run_32("import alloc\nalloc.main()", [LIB, HERE])))


def test_a_journal_allocates_nothing_on_the_64_bit_vm(tmp_path: Path) -> None:
    code = "import journal_alloc\njournal_alloc.main(%r)"
    check(costs(run_64(["-c", code % str(tmp_path / "outbox")], [LIB, HERE])), 5)


def test_a_journal_allocates_nothing_on_the_32_bit_vm() -> None:
    check(costs(run_32("import journal_alloc\njournal_alloc.main()", [LIB, HERE])), 5)
