"""Over-the-air updates on MicroPython's littlefs and FAT survive a power cut at each block written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from host_tests.vms import run_64
from tools.paths import FIRMWARE, LIB

HERE = Path(__file__).parent
_PATH = [HERE, HERE.parent / "journal", HERE.parent / "unit", FIRMWARE, LIB]
_PARTS = 4


@pytest.mark.parametrize("kind, min_blocks", [("littlefs", 100), ("fat", 100)])
@pytest.mark.parametrize("part", range(_PARTS))
def test_a_complete_version_runs_after_a_power_cut_at_each_block(
    kind: str, min_blocks: int, part: int
) -> None:
    code = f"import power_cuts\nprint('blocks', power_cuts.cut_at_every_block({kind!r}, {part}, {_PARTS}))"
    output = run_64(["-c", code], _PATH, timeout=110, heap="16m")
    found = re.search(r"^blocks (\d+)$", output, re.M)
    assert found and int(found[1]) > min_blocks, output[-2000:]
