"""Means with their 95 % intervals, against SciPy."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from launch.output.intervals import interval, t_quantile


def test_an_interval_is_by_students_t() -> None:
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == 3.0
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((1.0367, 4.9633), abs=5e-4)
    assert math.isnan(interval([1.0]).half)
    assert math.isnan(interval([]).mean)


@pytest.mark.parametrize("degrees", [1, 2, 9, 30, 31, 40, 99, 1000])
def test_the_quantile_has_four_right_digits(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=2e-4)
