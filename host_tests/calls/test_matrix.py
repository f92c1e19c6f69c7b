"""Every public call in every place: the outcome is that of docs/calls.md, and the program continues.

`bench.Bench.finish` checks what follows the call: the packets are valid, each accepted message arrives once,
the client publishes, receives and reconnects, and nothing waits without end.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tests.calls.calls import CALLS
from host_tests.calls.places import PLACES, UNDOCUMENTED, Place
from host_tests.calls.table import DOCUMENT, format_cell, measure, parse_cell, read_table


@pytest.mark.parametrize("place", PLACES, ids=[place.name for place in PLACES])
def test_each_call_has_the_documented_outcome_and_the_program_continues(place: Place, tmp_path: Path) -> None:
    expected = read_table()
    for number, call in enumerate(CALLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            b = measure(call, place, folder)
        except BaseException as error:
            raise AssertionError(f"{call.name}: {error!r}") from error
        if b.outcome and place.group != UNDOCUMENTED:
            stated = expected[call.name, place.group][b.state]
            assert b.outcome == stated, (
                f"{call.name}, {b.state}: {b.outcome}. Try: python -m host_tests.calls.table"
            )


def test_the_document_has_a_row_for_each_call() -> None:
    assert {name for name, _ in read_table()} == {call.name for call in CALLS}
    assert DOCUMENT.read_text().count("<!-- begin: calls -->") == 1


def test_cells_are_read_as_they_are_written() -> None:
    for text in ("works", "`False`; works while connecting", "works; `False` without `connect`"):
        assert format_cell(parse_cell(text)) == text
