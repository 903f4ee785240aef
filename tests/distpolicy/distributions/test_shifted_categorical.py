from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.distributions.shifted_categorical import shifted_categorical

LOGITS = np.log(np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]))


@pytest.mark.parametrize("minimum", [-4, 0, 7])
@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_values_begin_at_the_minimum(minimum: int, dtype: tf.DType) -> None:
    distribution = shifted_categorical(tf.constant(LOGITS), minimum, dtype)
    drawn = distribution.sample(2000, seed=[1, 2])
    assert drawn.dtype == dtype
    assert drawn.shape == (2000, 2)
    frequencies = np.stack([np.mean(drawn.numpy() == minimum + k, axis=0) for k in range(3)], axis=1)
    np.testing.assert_allclose(frequencies, np.exp(LOGITS), atol=0.04)
    np.testing.assert_array_equal(distribution.mode(), [minimum + 2, minimum])
    for k in range(3):
        value = tf.fill([2], tf.constant(minimum + k, dtype))
        np.testing.assert_allclose(distribution.log_prob(value), LOGITS[:, k], rtol=1e-6)
    np.testing.assert_allclose(distribution.entropy(), -np.sum(np.exp(LOGITS) * LOGITS, axis=1), rtol=1e-6)
