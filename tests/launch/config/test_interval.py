from __future__ import annotations

import pytest

from distpolicy.errors import ConfigError
from launch.config.interval import Interval, IntervalClock


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (50, Interval(updates=50)),
        ("50", Interval(updates=50)),
        ("30s", Interval(seconds=30.0)),
        ("1.5m", Interval(seconds=90.0)),
        ("2 h", Interval(seconds=7200.0)),
    ],
)
def test_an_interval_is_a_number_of_updates_or_a_time(value: int | str, expected: Interval) -> None:
    assert Interval.of(value, "eval_every") == expected


@pytest.mark.parametrize("value", [0, -3, "0s", "s", "3 days", "", "1e3s"])
def test_other_values_are_refused(value: int | str) -> None:
    with pytest.raises(ConfigError, match=r"^eval_every must be"):
        Interval.of(value, "eval_every")


def test_a_clock_of_updates_counts_them() -> None:
    clock = IntervalClock(Interval(updates=3), now=0.0)
    assert [update for update in range(1, 10) if clock.is_due(update, now=0.0)] == [3, 6, 9]


def test_a_clock_of_seconds_begins_anew_when_it_was_due() -> None:
    clock = IntervalClock(Interval(seconds=10.0), now=100.0)
    due = [now for now in (105.0, 109.9, 111.0, 119.0, 121.0, 140.0, 149.0, 150.5) if clock.is_due(1, now)]
    assert due == [111.0, 121.0, 140.0, 150.5]
    assert not IntervalClock(None, now=0.0).is_due(1, now=1e9)
