from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.draws import sample
from distpolicy.distributions.tanh_bijector_stable import Tanh
from distpolicy.distributions.utils import (
    SquashToSpecNormal,
    action_scale,
    bounded_elements,
    diagonal_normal,
    scale_distribution_to_spec,
)
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec

LOW, HIGH = np.array([-1.0, 10.0], np.float32), np.array([3.0, 30.0], np.float32)
SPEC = BoundedTensorSpec((2,), tf.float32, LOW, HIGH)


def normal_logarithm(value: np.ndarray, mean: np.ndarray, stddev: np.ndarray) -> np.ndarray:
    return -0.5 * ((value - mean) / stddev) ** 2 - np.log(stddev) - 0.5 * np.log(2 * np.pi)


def test_log_probability_is_the_normal_s_corrected_by_the_slope() -> None:
    mean, stddev = np.array([[0.3, -0.2], [0.0, 1.0]]), np.array([[0.5, 1.0], [2.0, 0.1]])
    squashed = SquashToSpecNormal(diagonal_normal(*(tf.constant(x, tf.float32) for x in (mean, stddev)), 1), SPEC)
    raw = np.array([[0.1, 0.4], [-1.0, 0.9]])
    center, half = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    action = center + half * np.tanh(raw)
    expected = normal_logarithm(raw, mean, stddev) - np.log(half * (1 - np.tanh(raw) ** 2))
    np.testing.assert_allclose(squashed.log_prob(action.astype(np.float32)), expected.sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(squashed.mode(), center + half * np.tanh(mean), rtol=1e-6)
    np.testing.assert_array_equal(squashed.mean(), squashed.mode())
    np.testing.assert_allclose(squashed.stddev(), stddev * half, rtol=1e-6)
    entropy = 0.5 * np.log(2 * np.pi * np.e * stddev**2) + np.log(half * (1 - np.tanh(mean) ** 2))
    np.testing.assert_allclose(squashed.entropy(), entropy.sum(axis=1), rtol=1e-4)
    assert squashed.batch_shape == (2,)
    assert squashed.event_shape == (2,)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_draws_lie_within_the_bounds_and_have_finite_probabilities(shape: tuple[int, ...], row_seeds: Any) -> None:
    spec = BoundedTensorSpec(shape, tf.float32, -2.0, 5.0)
    # A deviation so large that most draws lie at an end.
    wide = diagonal_normal(tf.zeros([500, *shape]), tf.fill([500, *shape], 20.0), len(shape))
    squashed = scale_distribution_to_spec(wide, spec)
    assert squashed.event_shape == shape
    for drawn in (squashed.sample(seed=[1, 2]), sample(squashed, tf.constant(row_seeds(500)))):
        values = drawn.numpy()
        assert values.shape == (500, *shape)
        assert np.all((values >= -2.0) & (values <= 5.0))
        assert np.any(values > 4.99)
        assert np.any(values < -1.99)
        # As stored in a replay buffer: not the tensor whose origin TFP remembers.
        log_probabilities = squashed.log_prob(tf.constant(values))
        assert log_probabilities.shape == (500,)
        assert np.all(np.isfinite(log_probabilities))


def test_divergence_is_that_of_the_normals() -> None:
    left = diagonal_normal(tf.constant([0.0, 1.0]), tf.constant([1.0, 2.0]), 1)
    right = diagonal_normal(tf.constant([0.5, 1.0]), tf.constant([2.0, 2.0]), 1)
    divergence = SquashToSpecNormal(left, SPEC).kl_divergence(SquashToSpecNormal(right, SPEC))
    expected = np.log(2.0) + (1.0 + 0.25) / 8.0 - 0.5
    np.testing.assert_allclose(divergence, expected, rtol=1e-5)


def test_open_bounds_and_other_distributions_are_refused() -> None:
    normal = tfp.distributions.Normal(tf.zeros([2]), 1.0)
    with pytest.raises(ValueError, match="finite bounds"):
        SquashToSpecNormal(normal, BoundedTensorSpec((), tf.float32, -np.inf, 1.0))
    with pytest.raises(ValueError, match="finite bounds"):
        SquashToSpecNormal(normal, TensorSpec((), tf.float32))
    with pytest.raises(ValueError, match="Beta"):
        SquashToSpecNormal(tfp.distributions.Beta([1.0], [1.0]), BoundedTensorSpec((), tf.float32, 0.0, 1.0))


def test_inverse_of_tanh_is_finite_at_the_ends() -> None:
    values = tf.constant([-1.0, -0.5, 0.0, 1.0])
    inverse = Tanh().inverse(values).numpy()
    assert np.all(np.isfinite(inverse))
    np.testing.assert_allclose(inverse[1], np.arctanh(-0.5), rtol=1e-6)
    assert inverse[0] == -inverse[3]
    assert inverse[3] > 8.0


def test_infinite_bounds_have_no_scale() -> None:
    spec = BoundedTensorSpec((3,), tf.float32, [-np.inf, -1.0, 0.0], [np.inf, 3.0, np.inf])
    center, half_width = action_scale(spec)
    np.testing.assert_array_equal(center, [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(half_width, [1.0, 2.0, 1.0])
    np.testing.assert_array_equal(bounded_elements(spec), [False, True, False])
    assert not bounded_elements(TensorSpec((2,), tf.float32)).any()
