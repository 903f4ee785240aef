from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.draws import sample
from distpolicy.distributions.shifted_categorical import ShiftedCategorical

LOGITS = np.log(np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], np.float32))


@pytest.mark.parametrize("shift", [-4, 0, 7])
@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_values_begin_at_the_shift(shift: int, dtype: tf.DType) -> None:
    distribution = ShiftedCategorical(tf.constant(LOGITS), dtype=dtype, shift=shift)
    drawn = distribution.sample(2000, seed=[1, 2])
    assert drawn.dtype == dtype
    assert drawn.shape == (2000, 2)
    frequencies = np.stack([np.mean(drawn.numpy() == shift + k, axis=0) for k in range(3)], axis=1)
    np.testing.assert_allclose(frequencies, np.exp(LOGITS), atol=0.04)
    np.testing.assert_array_equal(distribution.mode(), [shift + 2, shift])
    for k in range(3):
        value = tf.fill([2], tf.constant(shift + k, dtype))
        np.testing.assert_allclose(distribution.log_prob(value), LOGITS[:, k], rtol=1e-6)
        np.testing.assert_allclose(distribution.prob(value), np.exp(LOGITS[:, k]), rtol=1e-6)
        np.testing.assert_allclose(distribution.cdf(value), np.exp(LOGITS)[:, : k + 1].sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(distribution.entropy(), -np.sum(np.exp(LOGITS) * LOGITS, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(distribution.shift, shift)


def test_elements_may_have_shifts_of_their_own() -> None:
    distribution = ShiftedCategorical(tf.constant(LOGITS), shift=[10, -1])
    np.testing.assert_array_equal(distribution.mode(), [12, -1])
    joint = tfp.distributions.Independent(distribution, 1)
    np.testing.assert_allclose(joint.log_prob([10, 1]), np.log(0.1) + np.log(0.1), rtol=1e-6)


def test_masked_values_are_never_drawn() -> None:
    mask = np.array([[True, False, True], [False, True, False]])
    distribution = ShiftedCategorical(tf.constant(LOGITS), shift=5, mask=mask)
    seeds = tf.constant([[index, 3] for index in range(200)])
    repeated = ShiftedCategorical(tf.repeat(tf.constant(LOGITS[:1]), 200, axis=0), shift=5, mask=mask[:1])
    assert set(sample(repeated, seeds).numpy()) == {5, 7}
    assert set(distribution.sample(200, seed=[1, 2]).numpy()[:, 1]) == {6}
    np.testing.assert_array_equal(distribution.mode(), [7, 6])
    np.testing.assert_allclose(distribution.log_prob([5, 6]), [np.log(0.1 / 0.8), 0.0], rtol=1e-5)
    shares = np.array([0.1, 0.7]) / 0.8
    np.testing.assert_allclose(distribution.entropy(), [-np.sum(shares * np.log(shares)), 0.0], atol=1e-6)


def test_divergence_is_that_of_the_categoricals() -> None:
    left = ShiftedCategorical(tf.constant(LOGITS[0]), shift=4)
    right = ShiftedCategorical(tf.constant(LOGITS[1]), shift=4)
    expected = np.sum(np.exp(LOGITS[0]) * (LOGITS[0] - LOGITS[1]))
    np.testing.assert_allclose(left.kl_divergence(right), expected, rtol=1e-6)


def test_probabilities_may_be_given_in_place_of_logits() -> None:
    distribution = ShiftedCategorical(probs=np.exp(LOGITS), shift=1)
    np.testing.assert_allclose(distribution.logits_parameter(), LOGITS, rtol=1e-6)
    np.testing.assert_allclose(distribution.probs, np.exp(LOGITS))
    assert distribution.logits is None
