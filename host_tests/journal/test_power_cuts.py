"""Power cuts on a simulated flash: everywhere in one workload, and by chance in many."""

from __future__ import annotations

import pytest

from host_tests.journal import power_cuts

_HISTORIES = 400  # of each kind, with eight cuts each


def test_a_cut_at_every_byte_of_a_workload_with_all_kinds_of_record() -> None:
    for every in (1, 4):
        positions, kinds = power_cuts.cut_at_every_position(every)
        assert positions > 1000
        assert kinds == {0, 0x10, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0xFF}


@pytest.mark.parametrize("part", range(4))
def test_cuts_by_chance(part: int) -> None:
    result = power_cuts.histories(part * _HISTORIES, _HISTORIES)
    assert not result.findings
    assert result.cuts == 8 * _HISTORIES
    assert result.rotations > result.cuts // 2 and result.messages > result.cuts
