"""Rows of readings for CSV files that a spreadsheet may open."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from tools.monitor.history import Sample
from tools.monitor.quantities import find_quantity

HEADER = ("time", "device", "reading", "value", "unit")
# A spreadsheet takes a cell that begins with one of these for a formula, also in their full-width forms.
_FORMULA_SIGNS = tuple("=+-@\t\r\n＝＋－＠")
_ROWS_PER_PART = 500


def guard_cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe before its first sign."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_SIGNS) else text


def format_csv(samples: Iterable[Sample]) -> Iterator[str]:
    """Return a CSV file in parts: a header, and a row for each reading. The times are UTC."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(HEADER)
    for number, (at, device, reading, value) in enumerate(samples, 1):
        when = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
        texts = (guard_cell(device), guard_cell(reading))
        writer.writerow([when, *texts, f"{value:.15g}", find_quantity(reading).unit])
        if number % _ROWS_PER_PART == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()
