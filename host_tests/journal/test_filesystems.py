"""The journal on the VM's own littlefs and FAT, with the power cut at each block that they write."""

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
    """What a function of `block_device` returns."""
    output = run_64(
        ["-c", f"import block_device\nprint('cuts', block_device.{call})"], _PATH, timeout=110, heap="16m"
    )
    # what the VM collects of a file that a cut has met as it was opened says EINVAL
    found = re.fullmatch(r"(?:OSError: \[Errno 22\] EINVAL\n)*cuts (\d+)\n", output)
    assert found, output
    return int(found[1])


@pytest.mark.parametrize("kind, least", [("littlefs", 1000), ("fat", 200)])
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("every", [1, 4])
def test_a_cut_at_each_block(kind: str, least: int, part: int, every: int) -> None:
    places = call_block_device(f"cut_at_every_block({kind!r}, {every}, {part}, {_PARTS})")
    assert places > least // every


@pytest.mark.parametrize("kind", ["littlefs", "fat"])
def test_one_file_system_over_many_cuts(kind: str) -> None:
    assert call_block_device(f"random_cuts({kind!r}, range(12))") == 144
