"""Axes and gaps of charts, and the texts of values."""

from __future__ import annotations

import math
import random

import pytest

from tools.monitor import chart
from tools.monitor.device_state import DeviceState
from tools.monitor.quantities import (
    find_quantity,
    format_age,
    format_duration,
    format_number,
    format_reading,
)
from tools.monitor.terminal_base import draw_chart


def fill_of(values: list[float], floor: float = 0.0) -> float:
    """Return which part of the height of the chart the values fill."""
    low, high = chart.choose_axis(values, floor)
    assert low <= min(values) and max(values) <= high, (low, high)
    return (max(values) - min(values)) / (high - low)


@pytest.mark.parametrize(
    "level, noise, places",
    (
        (21.5, 0.01, 2),
        (0.02, 0.01, 2),
        (0.0, 0.01, 2),
        (-0.5, 0.01, 2),
        (3.3, 0.001, 3),
        (1013, 0.1, 1),
        (-61, 1, 0),
    ),
)
def test_the_noise_of_the_last_decimal_place_does_not_fill_the_height(
    level: float, noise: float, places: int
) -> None:
    choice = random.Random(1)
    values = [round(level + noise * choice.choice((-1, 0, 1)), places) for _ in range(100)]
    assert fill_of(values) <= 0.21, chart.choose_axis(values)


def test_noise_in_numbers_with_many_places_does_not_fill_the_height() -> None:
    choice = random.Random(1)
    values = [choice.gauss(0, 0.003) for _ in range(100)]  # the device has averaged
    assert fill_of(values) <= 0.2
    assert fill_of(values, find_quantity("air/temperature").min_span) <= 0.05


def test_a_real_change_fills_the_height() -> None:
    assert fill_of([12.0, 18.5, 25.25]) > 0.7
    assert fill_of([0, 500, 1000]) > 0.7
    assert fill_of([-20, 20]) > 0.7


@pytest.mark.parametrize(
    "values", ([0.0], [5], [-3.25], [1e14], [-1e14, 1e14], [1e-9], [0, 0], [123456, 123456.5])
)
def test_the_axis_of_any_value_has_a_span_and_contains_it(values: list[float]) -> None:
    low, high = chart.choose_axis(values)
    assert math.isfinite(low) and math.isfinite(high) and low < high
    assert low <= min(values) and max(values) <= high


def test_the_axis_does_not_go_below_zero_without_negative_values() -> None:
    assert chart.choose_axis([0.01, 0.02])[0] == 0
    assert chart.choose_axis([0, 3])[0] == 0
    assert chart.choose_axis([-1, 3])[0] < -0.9


def test_a_binary_reading_has_the_axis_of_both_states() -> None:
    assert chart.choose_axis([1, 1, 1], is_binary=True) == (0, 1)


def test_the_ends_of_the_axis_are_round_numbers() -> None:
    choice = random.Random(2)
    for _ in range(500):
        level, spread = choice.uniform(-1000, 1000), 10 ** choice.uniform(-3, 3)
        values = [round(level + choice.uniform(0, spread), 3) for _ in range(20)]
        for end in chart.choose_axis(values):
            assert len(format_number(abs(end)).replace(",", "").replace(".", "").strip("0")) <= 5, end


def test_a_pause_longer_than_three_usual_intervals_is_a_gap() -> None:
    times = [0.0, 10, 20, 30, 61, 71, 101]
    parts = chart.split_at_gaps(times, list(range(7)))
    assert [part for part, _ in parts] == [[0, 10, 20, 30], [61, 71, 101]]
    assert chart.gap_limit([0, 0.1, 0.2]) == 3  # the network can delay messages


def test_a_chart_of_characters_shows_a_gap_and_the_time_before_the_first_reading() -> None:
    device = DeviceState()
    device.timestamps["t"] = [*range(30, 60, 2), *range(90, 120, 2)]  # type: ignore[assignment]
    device.readings["t"] = [20.0] * 30  # type: ignore[assignment]
    (line,) = draw_chart(device, "t", 60, now=120)
    assert len(line) == 60
    assert (
        line[:14].strip() == "" and " " not in line[15:29] and line[34:44].strip() == "" and line[-1] != " "
    )


def test_negative_values_are_drawn_as_high_as_positive_ones() -> None:
    lines = []
    for offset in (100.0, -100.0):
        device = DeviceState()
        device.timestamps["t"] = list(range(30))  # type: ignore[assignment]
        device.readings["t"] = [offset + n for n in range(30)]  # type: ignore[assignment]
        lines.append(draw_chart(device, "t", 30, now=30)[0])
    assert len(set(lines[0])) > 4 and len(set(lines[1])) > 4


def test_values_are_formatted_with_unit_and_separators() -> None:
    assert format_reading("air/temperature", 21.5) == "21.5 °C"
    assert format_reading("chip_temperature", -3) == "-3 °C"
    assert format_reading("memory_available", 23190) == "23,190 MiB"
    assert format_reading("load", 1.19) == "1.19"
    assert format_reading("uptime", 52127) == "14 h 28 min"
    assert format_reading("door", 1.0, is_binary=True) == "ON"
    assert [format_number(value) for value in (-0.5, 1234567.5, 1e-7, 0, -0.0)] == [
        *("-0.5", "1,234,568", "1e-07", "0", "0")
    ]
    assert [format_duration(value) for value in (-5, 3, 65, 3600, 90061)] == [
        *("0 s", "3 s", "1 min 5 s", "1 h", "1 d 1 h")
    ]
    assert [format_age(value) for value in (0, 119, 120, 7200, 172800)] == [
        "now",
        "119 s",
        "2 min",
        "2 h",
        "2 d",
    ]
