"""Alert rules: above and below with hysteresis."""

from __future__ import annotations

import pytest

from tools.errors import UserError
from tools.monitor.alerts import AlertRule, Alerts, parse_rule


@pytest.mark.parametrize(
    "text, rule",
    (
        ("kitchen/load above 2", AlertRule("kitchen", "load", "above", 2, 2)),
        ("*/t below -3.5", AlertRule("*", "t", "below", -3.5, -3.5)),
        ("kitchen/load>2", AlertRule("kitchen", "load", "above", 2, 2)),
        ("kitchen/load > 2", AlertRule("kitchen", "load", "above", 2, 2)),
        ("*/t<-3.5", AlertRule("*", "t", "below", -3.5, -3.5)),
        ("hall/air/temperature above 30 until 28.5", AlertRule("hall", "air/temperature", "above", 30, 28.5)),
        ("*/tank  below  20   until +25", AlertRule("*", "tank", "below", 20, 25)),
        ("living room/load above 2", AlertRule("living room", "load", "above", 2, 2)),
        ("x/above above 1", AlertRule("x", "above", "above", 1, 1)),
    ),
)
def test_a_rule_is_parsed(text: str, rule: AlertRule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    (
        "load>2",
        "a/b",
        "a/b>x",
        "",
        "a/b above",
        "a/b above nan",
        "a/b over 2",
        "a/babove 2 3",
        "a/b above 2 until",
        "a/ above 2",
        "a/b>=2",
        "a/b above 2 below 1",
    ),
)
def test_a_text_that_is_no_rule_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match="expected device/reading above number.* kitchen/load above 2"):
        parse_rule(text)


def test_an_end_on_the_wrong_side_of_the_limit_is_refused() -> None:
    with pytest.raises(UserError, match="would never end. Choose a number below 70"):
        parse_rule("*/t above 70 until 71")
    with pytest.raises(UserError, match="would never end. Choose a number above 5"):
        parse_rule("*/t below 5 until 4")


def _events_of(rules: list[str], values: list[float], device: str = "d") -> list[str]:
    events: list[str] = []
    alerts = Alerts([parse_rule(rule) for rule in rules], events.append)
    for value in values:
        alerts.handle_reading(device, "t", value)
    return events


def test_a_value_that_hovers_at_the_limit_gives_one_alert_with_hysteresis() -> None:
    hovering = [69.9, 70.1, 69.9, 70.1, 66.0, 70.2, 65.0, 69.9]
    assert _events_of(["*/t above 70 until 65"], hovering) == [
        "ALERT d: t 70.1 is above 70",
        "d: t is back to normal",
    ]
    assert len(_events_of(["*/t above 70"], hovering)) == 6  # three alerts


def test_an_alert_below_a_limit_ends_when_the_value_has_risen_again() -> None:
    assert _events_of(["d/t below 5 until 7"], [6, 4.5, 6.9, 7]) == [
        "ALERT d: t 4.5 is below 5",
        "d: t is back to normal",
    ]


def test_a_value_equal_to_the_limit_violates_no_rule() -> None:
    assert _events_of(["*/t above 5", "*/t below 5"], [5, 5.0]) == []


def test_hysteresis_is_kept_apart_for_each_device_and_rule() -> None:
    events: list[str] = []
    alerts = Alerts([parse_rule("*/t above 70 until 65"), parse_rule("a/t above 90 until 80")], events.append)
    alerts.handle_reading("a", "t", 95)
    alerts.handle_reading("b", "t", 66)
    assert alerts.for_device("b") == []
    alerts.handle_reading("a", "t", 68)
    assert alerts.for_device("a") == ["t 68 has not reached 65"]
    alerts.handle_reading("a", "t", 64)
    assert alerts.for_device("a") == [] and len(events) == 2
