from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from distpolicy.ops.value_rescaling import invert_rescaling, rescale


@given(st.floats(-1e6, 1e6), st.sampled_from([1e-3, 1e-2]))
def test_both_are_the_papers_formulas(value: float, epsilon: float) -> None:
    sign = np.sign(value)
    expected = sign * (np.sqrt(abs(value) + 1) - 1) + epsilon * value
    np.testing.assert_allclose(rescale(tf.constant(value, tf.float64), epsilon), expected, rtol=1e-9, atol=1e-12)
    inverse = sign * (((np.sqrt(1 + 4 * epsilon * (abs(value) + 1 + epsilon)) - 1) / (2 * epsilon)) ** 2 - 1)
    np.testing.assert_allclose(invert_rescaling(tf.constant(value, tf.float64), epsilon), inverse, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("epsilon", [1e-3, 1e-2])
def test_they_are_inverse_in_float32(epsilon: float) -> None:
    values = tf.constant([-1e5, -300.0, -1.0, -1e-4, 0.0, 1e-4, 0.5, 20.0, 1e4])
    np.testing.assert_allclose(invert_rescaling(rescale(values, epsilon), epsilon), values, rtol=2e-5, atol=1e-6)
