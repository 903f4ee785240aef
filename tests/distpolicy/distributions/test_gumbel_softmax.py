from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.gumbel_softmax import GumbelSoftmax
from distpolicy.distributions.reparameterized_sampling import sample
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.trajectories import time_step as ts

LOGITS = np.log(np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]], np.float32))


def test_the_mode_and_discrete_draws_are_one_hot() -> None:
    distribution = GumbelSoftmax(0.5, logits=LOGITS, dtype=tf.int64)
    np.testing.assert_array_equal(distribution.mode(), [[0, 1, 0], [1, 0, 0]])
    assert distribution.mode().dtype == tf.int64
    drawn = sample(distribution, seed=[1, 2], sample_shape=[4000])
    assert drawn.dtype == tf.int64
    np.testing.assert_array_equal(tf.reduce_sum(drawn, -1), np.ones((4000, 2)))
    np.testing.assert_allclose(tf.reduce_mean(tf.cast(drawn, tf.float32), 0), np.exp(LOGITS), atol=0.04)


def test_probabilities_of_one_hot_vectors_are_the_categorical_ones() -> None:
    for distribution in (GumbelSoftmax(0.5, logits=LOGITS), GumbelSoftmax(0.5, probs=np.exp(LOGITS))):
        log_prob = distribution.log_prob(tf.constant([[0, 0, 1], [1, 0, 0]]))
        np.testing.assert_allclose(log_prob, np.log([0.3, 0.7]), atol=1e-5)
    relaxed = tf.constant([[0.2, 0.3, 0.5], [0.8, 0.1, 0.1]])
    expected = tfp.distributions.RelaxedOneHotCategorical(0.5, logits=LOGITS).log_prob(relaxed)
    np.testing.assert_allclose(GumbelSoftmax(0.5, logits=LOGITS).log_prob(relaxed), expected, rtol=1e-4)
    at_the_bound = GumbelSoftmax(0.5, logits=LOGITS).log_prob(tf.constant([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    assert np.isfinite(at_the_bound).all()


def test_a_reparameterized_draw_has_a_gradient() -> None:
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        drawn = sample(GumbelSoftmax(0.5, logits=logits), reparam=True, seed=[1, 2])
        total = tf.reduce_sum(drawn[:, 0])
    assert drawn.dtype == tf.float32
    assert float(tf.reduce_sum(tf.abs(tape.gradient(total, logits)))) > 0.0
    with pytest.raises(ValueError, match="no gradient"):
        sample(tfp.distributions.Categorical(logits=LOGITS), reparam=True)
    assert sample(tfp.distributions.Categorical(logits=LOGITS)).shape == (2,)


class Relaxed(Network):
    """Returns one relaxed distribution for every row."""

    def __init__(self) -> None:
        super().__init__(TensorSpec((1,), tf.float32))
        self._logits = tf.Variable(LOGITS[0])

    def call(self, observation: Any) -> Any:
        return GumbelSoftmax(0.5, logits=self._logits + 0.0 * observation, dtype=tf.float32), ()


def test_a_policy_takes_one_hot_actions() -> None:
    spec = ts.time_step_spec(TensorSpec((1,), tf.float32))
    policy = ActorPolicy(spec, BoundedTensorSpec((3,), tf.float32, 0, 1), Relaxed())
    step = ts.restart(tf.zeros([600, 1]), batch_size=600)
    action = policy.action(step, seed=3).action
    assert set(np.unique(action)) == {0.0, 1.0}
    np.testing.assert_array_equal(tf.reduce_sum(action, -1), np.ones(600))
    np.testing.assert_allclose(tf.reduce_mean(action, 0), np.exp(LOGITS[0]), atol=0.08)
    np.testing.assert_array_equal(policy.action(step, seed=3).action, action)
    np.testing.assert_array_equal(GreedyPolicy(policy).action(step).action[0], [0, 1, 0])
