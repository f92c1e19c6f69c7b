"""The axes of charts: value axes on which noise looks small, time axes with round spans, gaps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_RELATIVE_SPAN = 0.02  # smallest span of a value axis, relative to the largest value
_STEPS_FRACTION = (
    20  # smallest span of a value axis in steps of the precision, for values with decimal places
)
_STEPS_INTEGER = 10  # the same for integers
_MAX_PLACES = 6  # more decimal places come from a calculation, not from a sensor
_RECENT = 50  # number of readings that show precision and interval
_MARGIN = 0.08  # free part of the axis above and below the values
_GAP_INTERVALS = 3.0  # a gap is longer than this many usual intervals
_MIN_GAP = 3.0  # seconds; shorter pauses come from the network
_SPANS = (30, 60, 120, 300, 600, 1800, 3600, 7200, 6 * 3600, 12 * 3600, 86400, 7 * 86400)  # seconds


def _places(value: float) -> int:
    """Return the number of decimal places of a value."""
    text = f"{value:.{_MAX_PLACES}f}".rstrip("0")
    return len(text) - text.index(".") - 1


def min_span(values: Iterable[float], floor: float = 0.0) -> float:
    """Return the smallest span of an axis on which the noise of a sensor with these values looks small.

    It follows the size of the values, and their precision: the last decimal place usually is noise.
    `floor` is the smallest span for the quantity.
    """
    known = list(values)
    places = max(map(_places, known[-_RECENT:]), default=0)
    steps = _STEPS_FRACTION if places else _STEPS_INTEGER
    # values with many decimal places, such as means, do not show their precision: two places are the guess
    precision = 10.0 ** -(places if places < _MAX_PLACES else 2)
    return max(_RELATIVE_SPAN * max(map(abs, known), default=0), steps * precision, floor)


def choose_axis(values: Iterable[float], floor: float = 0.0, is_binary: bool = False) -> tuple[float, float]:
    """Return the lower and upper end of the value axis of a chart, as round numbers.

    The ends leave a margin, and the span is at least `min_span`. If no value is negative, the axis does not
    go below 0.
    """
    known = list(values)
    if is_binary or not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    span = max((high - low) * (1 + 2 * _MARGIN), min_span(known, floor))
    bottom = (low + high - span) / 2
    if low >= 0 and bottom < 0:
        bottom = 0.0
    power = 10.0 ** math.floor(math.log10(span / 10))
    step = next(power * factor for factor in (5, 2, 1) if power * factor <= span / 10 * (1 + 1e-9))
    first = math.floor(bottom / step + 1e-9)
    last = max(math.ceil((bottom + span) / step - 1e-9), math.ceil(high / step - 1e-9), first + 1)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return round(first * step, places), round(last * step, places)


def gap_limit(timestamps: Sequence[float]) -> float:
    """Return the seconds between two readings from which on there is a gap in the chart."""
    recent = list(timestamps)[-_RECENT:]
    intervals = sorted(after - before for before, after in zip(recent, recent[1:]))
    usual = intervals[len(intervals) // 2] if intervals else 0.0
    return max(_GAP_INTERVALS * usual, _MIN_GAP)


def choose_span(seconds: float) -> int:
    """Return the span of the time axis in seconds for readings of which the oldest has this age."""
    return next((span for span in _SPANS if span >= seconds), _SPANS[-1])


def split_at_gaps(
    timestamps: Sequence[float], values: Sequence[float]
) -> list[tuple[list[float], list[float]]]:
    """Return the times and values of each part of a chart between two gaps."""
    limit = gap_limit(timestamps)
    parts: list[tuple[list[float], list[float]]] = []
    for at, value in zip(timestamps, values):
        if not parts or at - parts[-1][0][-1] > limit:
            parts.append(([], []))
        parts[-1][0].append(at)
        parts[-1][1].append(value)
    return parts


def resample(
    timestamps: Sequence[float], values: Sequence[float], columns: int, start: float, end: float
) -> list[float | None]:
    """Return a value for each column of a chart between two times: the mean, or None in a gap."""
    sums = [0.0] * columns
    counts = [0] * columns
    width = (end - start) / columns
    limit = gap_limit(timestamps)
    for at, value in zip(timestamps, values):
        column = min(int((at - start) / width), columns - 1) if at >= start else -1
        if column >= 0:
            sums[column] += value
            counts[column] += 1
    result: list[float | None] = []
    last, age = None, 0.0
    for total, count in zip(sums, counts):
        age = 0.0 if count else age + width
        if count:
            last = total / count
        # between two readings the chart shows the earlier one
        result.append(last if last is not None and age <= max(limit, width) else None)
    return result
