"""The journal on simulated flash survives a power cut at every step of a workload, and random power cuts."""

from __future__ import annotations

import pytest

from host_tests.journal import power_cuts

_HISTORIES = 400  # number of histories per part, with eight power cuts each


def test_the_journal_survives_a_power_cut_at_every_step_of_a_workload_with_all_record_kinds() -> None:
    for every in (1, 4):
        positions, kinds = power_cuts.cut_at_every_position(every)
        assert positions > 1000
        assert kinds == {0, 0x10, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0xFF}


@pytest.mark.parametrize("part", range(4))
def test_the_journal_survives_random_power_cuts_and_other_faults(part: int) -> None:
    result = power_cuts.histories(part * _HISTORIES, _HISTORIES)
    assert not result.findings
    assert result.cuts == 8 * _HISTORIES
    assert result.rotations > result.cuts // 2 and result.messages > result.cuts
