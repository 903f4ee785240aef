from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from launch.reports.series import mean_curve, smoothed, thinned

floats = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(floats, min_size=1, max_size=50), st.integers(1, 60))
def test_smoothing_takes_the_mean_of_the_values_before(values: list[float], window: int) -> None:
    found = smoothed(np.array(values), window)
    expected = [np.mean(values[max(0, end - window) : end]) for end in range(1, len(values) + 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-3)


def test_smoothing_forgets_a_spike_that_is_out_of_the_window() -> None:
    found = smoothed(np.array([1e20, *[1.0] * 9]), 3)
    np.testing.assert_allclose(found[3:], 1.0)
    assert smoothed(np.array([]), 3).size == 0


@given(st.lists(floats, min_size=1, max_size=400), st.integers(4, 60))
def test_thinning_keeps_the_ends_the_lowest_and_the_highest(values: list[float], max_points: int) -> None:
    array = np.array(values)
    rows = thinned(array, max_points)
    assert len(rows) <= max(max_points, 4)
    assert list(rows) == sorted(set(rows))
    assert (rows[0], rows[-1]) == (0, len(values) - 1)
    assert (array[rows].min(), array[rows].max()) == (array.min(), array.max())


def test_the_mean_of_curves_covers_what_all_of_them_cover() -> None:
    x = np.arange(0.0, 101.0)
    found = mean_curve([(x, x), (x[10:], x[10:] + 2.0), (x[:90], x[:90] + 4.0)])
    assert found is not None
    assert (found.x[0], found.x[-1]) == (10.0, 89.0)
    np.testing.assert_allclose(found.mean, found.x + 2.0)
    np.testing.assert_allclose(found.half, 4.303 * 2.0 / math.sqrt(3.0))
    assert mean_curve([(x[:5], x[:5]), (x[50:], x[50:])]) is None
