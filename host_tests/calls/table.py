"""The table of docs/calls.md: which call works in which place.

`python -m host_tests.calls.table` writes it.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from host_tests.calls.bench import CONNECTED, CONNECTING, STOPPED, Bench, Call
from host_tests.calls.calls import CALLS
from host_tests.calls.places import GROUPS, PLACES, UNDOCUMENTED, Place
from tools.paths import ROOT

DOCUMENT = ROOT / "docs" / "calls.md"
_BLOCK = re.compile(r"(<!-- begin: calls -->\n)(.*?)(<!-- end: calls -->)", re.DOTALL)
_NOTHING = "-"

# outcome by state of the client
Cell = dict[str, str]
# cell by name of the call and group of places
Table = dict[tuple[str, str], Cell]


def measure(call: Call, place: Place, folder: Path) -> Bench:
    """Make a call in a place, and continue the program to its end."""
    b = Bench(call, folder)
    place.run(b)
    b.finish()
    return b


def measure_all(folder: Path) -> Table:
    """Return the outcomes of all calls in all places."""
    table: Table = {(call.name, group): {} for call in CALLS for group in GROUPS}
    for place in PLACES:
        for number, call in enumerate(CALLS):
            path = folder / f"{place.name}-{number}"
            path.mkdir()
            b = measure(call, place, path)
            if b.outcome and place.group != UNDOCUMENTED:
                cell = table[call.name, place.group]
                found = cell.setdefault(b.state, b.outcome)
                assert found == b.outcome, (call.name, place.name, found, b.outcome)
    return table


def format_cell(cell: Cell) -> str:
    """Return the text of a cell. States with the outcome of the state before are omitted."""
    parts: list[str] = []
    previous = None
    for state in (CONNECTED, CONNECTING, STOPPED):
        outcome = cell.get(state)
        if outcome and outcome != previous:
            parts.append(outcome if previous is None else f"{outcome} {state}")
            previous = outcome
    return "; ".join(parts) or _NOTHING


def parse_cell(text: str) -> Cell:
    """Return the outcomes that a cell states."""
    cell: Cell = {}
    parts = text.split("; ")
    for state in (CONNECTED, CONNECTING, STOPPED):
        for part in parts:
            if part.endswith(" " + state):
                cell[state] = part[: -len(state) - 1]
                break
        else:
            cell[state] = parts[0] if state == CONNECTED else cell[_PREVIOUS[state]]
    return cell


_PREVIOUS = {CONNECTING: CONNECTED, STOPPED: CONNECTING}


def format_table(table: Table) -> str:
    lines = ["| call | " + " | ".join(GROUPS) + " |", "|---" * (len(GROUPS) + 1) + "|"]
    for call in CALLS:
        cells = [format_cell(table[call.name, group]) for group in GROUPS]
        lines.append("| " + " | ".join([call.name, *cells]) + " |")
    return "\n".join(lines) + "\n"


def read_table() -> Table:
    """Return the outcomes that the document states."""
    block = _BLOCK.search(DOCUMENT.read_text())
    assert block, "docs/calls.md has no table"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block[2].splitlines()]
    assert rows[0] == ["call", *GROUPS]
    return {(row[0], group): parse_cell(row[i + 1]) for row in rows[2:] for i, group in enumerate(GROUPS)}


def main() -> None:
    """Write the table."""
    with tempfile.TemporaryDirectory() as folder:
        text = format_table(measure_all(Path(folder)))
    document = DOCUMENT.read_text()
    DOCUMENT.write_text(_BLOCK.sub(lambda found: found[1] + text + found[3], document))


if __name__ == "__main__":
    main()
