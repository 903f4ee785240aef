"""Draws by noise that is handed in, and their log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.reparameterized import draw_with_noise
from distpolicy.distributions.utils import SquashToSpecNormal, diagonal_normal
from distpolicy.specs.tensor_spec import BoundedTensorSpec

tfd = tfp.distributions
LOC, SCALE = np.array([[0.3, -1.2], [0.9, 0.1]], np.float32), np.array([[0.5, 1.5], [0.2, 2.0]], np.float32)
NOISE = np.array([[0.7, -0.4], [-1.1, 0.3]], np.float32)
SPEC = BoundedTensorSpec((2,), tf.float32, [-1.0, 0.0], [3.0, 0.5])


@pytest.mark.parametrize(
    ("distribution", "noise"),
    [
        (tfd.MultivariateNormalDiag(LOC, SCALE), NOISE),
        (tfd.Independent(tfd.Normal(LOC, SCALE), 1), NOISE),
        (tfd.Normal(LOC[:, 0], SCALE[:, 0]), NOISE[:, :1]),
        (SquashToSpecNormal(diagonal_normal(LOC, SCALE, 1), SPEC), NOISE),
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_draw_is_a_function_of_the_noise_and_has_the_distributions_density(distribution: Any, noise: Any) -> None:
    drawn, log_prob = draw_with_noise(distribution, noise)
    np.testing.assert_allclose(log_prob, distribution.log_prob(tf.identity(drawn)), rtol=1e-4)
    raw = (LOC + SCALE * NOISE)[:, : noise.shape[1]].reshape(drawn.shape)
    expected = distribution.bijector.forward(raw) if isinstance(distribution, SquashToSpecNormal) else raw
    np.testing.assert_allclose(drawn, expected, rtol=1e-6)


@pytest.mark.parametrize("far", [-60.0, 60.0])
def test_log_probabilities_are_exact_where_tanh_has_reached_its_bound(far: float) -> None:
    """The action is at the bound, and no inverse of tanh could tell where it came from."""
    loc = tf.constant([[far, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(loc)
        distribution = SquashToSpecNormal(diagonal_normal(loc, tf.ones([1, 2]), 1), SPEC)
        drawn, log_prob = draw_with_noise(distribution, tf.constant([[0.5, -0.5]]))
    assert drawn[0, 0] == (SPEC.maximum if far > 0 else SPEC.minimum)[0]
    raw = np.array([far + 0.5, -0.5])
    normal = -0.5 * 0.25 * 2 - np.log(2 * np.pi)
    # log(1 - tanh(u)²) = 2 (log 2 - |u| - log(1 + exp(-2 |u|))), in a form without cancellation.
    slope = 2 * (np.log(2) - np.abs(raw) - np.log1p(np.exp(-2 * np.abs(raw)))) + np.log([2.0, 0.25])
    np.testing.assert_allclose(log_prob, [normal - slope.sum()], rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(log_prob, loc)[0, 0], 2.0 * np.sign(far), rtol=1e-5)


def test_other_distributions_draw_for_themselves() -> None:
    drawn, log_prob = draw_with_noise(tfd.Uniform(tf.zeros([3]), tf.ones([3])), tf.zeros([3, 1]))
    assert drawn.shape == log_prob.shape == (3,)
    assert np.all((drawn >= 0) & (drawn <= 1))
