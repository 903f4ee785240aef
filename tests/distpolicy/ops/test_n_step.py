from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from distpolicy.ops.n_step import n_step_returns


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_it_is_the_sum_written_out(seed: int, n_step: int) -> None:
    draws, shape = np.random.default_rng(seed), (3, 8)
    reward, discount = draws.normal(size=shape), draws.choice([0.0, 0.5, 0.9], size=shape)
    value, is_transition = draws.normal(size=shape), draws.uniform(size=shape) < 0.7
    found = n_step_returns(*map(tf.constant, (reward, discount, value, is_transition)), n_step)
    assert found.shape == (3, 8 - n_step)
    for row in range(3):
        for first in range(8 - n_step):
            total, share, last = 0.0, 1.0, first
            while last < first + n_step and is_transition[row, last]:
                total += share * reward[row, last]
                share *= discount[row, last]
                last += 1
            np.testing.assert_allclose(found[row, first], total + share * value[row, last], atol=1e-12)


def test_what_is_not_a_transition_may_be_nan() -> None:
    value = tf.constant([[1.0, 2.0, 3.0]])
    bad = tf.constant([[1.0, np.nan, 1.0]])
    found = n_step_returns(bad, bad, value, tf.constant([[True, False, True]]), 2)
    np.testing.assert_array_equal(found, [[3.0]])


def test_shapes_are_checked() -> None:
    row, flags = tf.zeros([2, 3]), tf.ones([2, 3], tf.bool)
    with pytest.raises(ValueError, match="value must have the shape"):
        n_step_returns(row, row, tf.zeros([2, 4]), flags, 1)
    with pytest.raises(ValueError, match=r"n_step must be in \[1, 2\]"):
        n_step_returns(row, row, row, flags, 3)
