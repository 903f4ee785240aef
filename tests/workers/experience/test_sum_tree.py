"""Sum trees: draws in proportion to values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.experience.replay.sum_tree import SumTree


def tree_of(values: np.ndarray) -> SumTree:
    tree = SumTree(len(values))
    tree.set(np.arange(len(values)), values)
    return tree


@pytest.mark.parametrize("num_values", [1, 7, 4096, 4097, 100_001])
def test_points_of_the_cumulative_sum_are_found(num_values: int) -> None:
    rng = np.random.default_rng(num_values)
    values = rng.random(num_values) * (rng.random(num_values) < 0.3)
    values[rng.integers(num_values)] = 1.0
    points = np.concatenate([rng.random(1000), [0.0, np.nextafter(1.0, 0.0)]])
    found = tree_of(values).draw(points)
    sums = np.cumsum(values) / values.sum()
    assert (values[found] > 0).all()
    assert (points <= sums[found] + 1e-9).all()
    assert (points >= sums[found] - values[found] / values.sum() - 1e-9).all()


@given(
    seed=st.integers(0, 2**32),
    scale=st.sampled_from([1e-300, 1e-9, 1.0, 1e300]),
    num_values=st.integers(4000, 4200),
    num_positive=st.integers(1, 5),
)
def test_a_value_of_zero_is_never_drawn(seed: int, scale: float, num_values: int, num_positive: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.zeros(num_values)
    values[rng.integers(0, num_values, num_positive)] = rng.random(num_positive) * scale + scale * 1e-6
    points = np.concatenate([rng.random(50), [0.0, 1e-320, np.nextafter(1.0, 0.0)]])
    assert (values[tree_of(values).draw(points)] > 0).all()


def test_a_tree_follows_from_its_values_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(50_000)
    tree = tree_of(values)
    for count in (1, 2, 300, 40_000):
        indices, new = rng.integers(0, len(values), count), rng.random(count)
        for index, value in zip(indices, new, strict=True):
            values[index] = value
        tree.set(indices, new)
    points = rng.random(20_000)
    assert np.array_equal(tree.get(np.arange(len(values))), values)
    assert all(np.array_equal(left, right) for left, right in zip(tree._levels, tree_of(values)._levels, strict=True))
    assert np.array_equal(tree.draw(points), tree_of(values).draw(points))
