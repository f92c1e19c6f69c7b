"""The journal on MicroPython's littlefs and FAT survives a power cut at each block that is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from host_tests.vms import run_64
from tools.paths import LIB

HERE = Path(__file__).parent
_PATH = [HERE, HERE.parent / "unit", LIB]
_PARTS = 3


def call_block_device(call: str) -> int:
    """Call a function of `block_device` in the VM and return its result."""
    output = run_64(
        ["-c", f"import block_device\nprint('cuts', block_device.{call})"], _PATH, timeout=110, heap="16m"
    )
    # the VM prints EINVAL when it collects a file that was being opened when the power failed
    found = re.fullmatch(r"(?:OSError: \[Errno 22\] EINVAL\n)*cuts (\d+)\n", output)
    assert found, output
    return int(found[1])


@pytest.mark.parametrize("kind, min_blocks", [("littlefs", 1000), ("fat", 200)])
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("every", [1, 4])
def test_the_journal_survives_a_power_cut_at_each_block(
    kind: str, min_blocks: int, part: int, every: int
) -> None:
    blocks = call_block_device(f"cut_at_every_block({kind!r}, {every}, {part}, {_PARTS})")
    assert blocks > min_blocks // every


@pytest.mark.parametrize("kind", ["littlefs", "fat"])
def test_the_journal_survives_many_random_power_cuts_on_one_filesystem(kind: str) -> None:
    assert call_block_device(f"random_cuts({kind!r}, range(12))") == 144
