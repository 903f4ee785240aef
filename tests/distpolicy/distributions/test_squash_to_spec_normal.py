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
    assert squashed.batch_shape == (2,)
    assert squashed.event_shape == (2,)


def integrated_entropy(mean: float, stddev: float, half: float) -> float:
    """Integrates -p(y) log p(y) over y = half * tanh(x) (Haarnoja et al., 2018, appendix C, equation 21 for log p)."""
    raw = np.linspace(mean - 12 * stddev, mean + 12 * stddev, 200_001)
    logarithm = normal_logarithm(raw, mean, stddev)  # type: ignore[arg-type]
    slope = np.log(half) + 2.0 * (np.log(2.0) - np.abs(raw) - np.log1p(np.exp(-2.0 * np.abs(raw))))
    return float(np.trapezoid(-np.exp(logarithm) * (logarithm - slope), raw))


@pytest.mark.parametrize(
    ("mean", "stddev", "tolerance"),
    [(0.0, 0.01, 1e-4), (0.0, 0.87, 1e-4), (0.4, 0.5, 1e-4), (-2.0, 1.0, 1e-4), (1.0, 3.0, 5e-3), (3.0, 8.0, 0.1)],
)
def test_entropy_and_its_gradient_are_the_integral_s(mean: float, stddev: float, tolerance: float) -> None:
    low, high = -1.0, 4.0
    spec = BoundedTensorSpec((), tf.float32, low, high)
    with tf.GradientTape(persistent=True) as tape:
        parameters = tf.constant(mean), tf.constant(stddev)
        tape.watch(parameters)
        entropy = SquashToSpecNormal(tfp.distributions.Normal(*parameters), spec).entropy()
    half, step = (high - low) / 2, 1e-3 * stddev
    np.testing.assert_allclose(entropy, integrated_entropy(mean, stddev, half), atol=tolerance)
    slopes = [
        (integrated_entropy(mean + m, stddev + s, half) - integrated_entropy(mean - m, stddev - s, half)) / (2 * step)
        for m, s in ((step, 0.0), (0.0, step))
    ]
    np.testing.assert_allclose(tape.gradient(entropy, parameters), slopes, atol=2 * tolerance, rtol=1e-4)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_entropy_of_an_action_is_the_sum_over_its_elements(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(1)
    mean, stddev = generator.normal(size=(4, *shape)), generator.uniform(0.1, 1.5, (4, *shape))
    low = generator.uniform(-3.0, 0.0, shape).astype(np.float32)
    spec = BoundedTensorSpec(shape, tf.float32, low, low + 5.0)
    normal = diagonal_normal(tf.constant(mean, tf.float32), tf.constant(stddev, tf.float32), len(shape))
    expected = [
        sum(integrated_entropy(m, s, 2.5) for m, s in zip(means.ravel(), stddevs.ravel(), strict=True))
        for means, stddevs in zip(mean, stddev, strict=True)
    ]
    entropy = SquashToSpecNormal(normal, spec).entropy()
    assert entropy.shape == (4,)
    np.testing.assert_allclose(entropy, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_ascending_the_entropy_ends_near_the_uniform_distribution() -> None:
    spec = BoundedTensorSpec((1,), tf.float32, -1.0, 1.0)
    log_stddev = tf.Variable([2.0])
    for _ in range(300):
        with tf.GradientTape() as tape:
            stddev = tf.exp(log_stddev)
            entropy = SquashToSpecNormal(diagonal_normal(tf.zeros([1]), stddev, 1), spec).entropy()
        assert entropy < np.log(2.0)
        log_stddev.assign_add(0.1 * tf.clip_by_value(tape.gradient(entropy, log_stddev), -1.0, 1.0))
    # Its largest value, by integration: the squashed normal nearest to the uniform distribution.
    np.testing.assert_allclose(stddev, [0.874], atol=5e-3)
    np.testing.assert_allclose(entropy, 0.68364, atol=1e-4)


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


@pytest.mark.parametrize("dtype", [tf.float16, tf.float32, tf.float64])
def test_action_s_scale_follows_the_bounds_that_are_finite(dtype: tf.DType) -> None:
    low = [-np.inf, -1.0, 0.0, 3.0, -np.inf, -100.0, 5.0]
    high = [np.inf, 3.0, np.inf, np.inf, -0.5, np.inf, 5.0]
    spec = BoundedTensorSpec((7,), dtype, low, high)
    center, scale = action_scale(spec)
    np.testing.assert_array_equal(center, [0.0, 1.0, 1.0, 6.0, -1.5, 0.0, 0.0])
    np.testing.assert_array_equal(scale, [1.0, 2.0, 1.0, 3.0, 1.0, 100.0, 1.0])
    np.testing.assert_array_equal(bounded_elements(spec), [False, True, False, False, False, False, False])
    assert not bounded_elements(TensorSpec((2,), dtype)).any()
    np.testing.assert_array_equal(action_scale(TensorSpec((2,), dtype)), [[0.0, 0.0], [1.0, 1.0]])
