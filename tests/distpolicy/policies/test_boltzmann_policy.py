from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from linear_policies import (
    DISCRETE,
    SHIFTED,
    STEP_SPEC,
    actor_policy,
    masked_q_policy,
    masked_step,
    q_policy,
    random_step,
)

from distpolicy.distributions.shifted_categorical import ShiftedCategorical
from distpolicy.policies.boltzmann_policy import BoltzmannPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep


@pytest.mark.parametrize(
    "make",
    [lambda value: value, lambda value: lambda: value, tf.constant, lambda value: tf.Variable(value)],
    ids=["float", "callable", "tensor", "variable"],
)
@pytest.mark.parametrize("spec", [DISCRETE, SHIFTED])
def test_logits_are_divided_by_the_temperature(make: Any, spec: BoundedArraySpec) -> None:
    step, inner = random_step(5), q_policy(spec=spec)
    distribution = BoltzmannPolicy(inner, make(4.0)).distribution(step).action
    expected = inner.distribution(step).action.logits_parameter() / 4.0
    np.testing.assert_allclose(distribution.logits_parameter(), expected, rtol=1e-6)
    np.testing.assert_array_equal(distribution.mode(), inner.distribution(step).action.mode())


def test_log_probability_is_that_at_the_temperature() -> None:
    policy, step = BoltzmannPolicy(q_policy(emit_log_probability=True), 0.5), random_step(50)
    result = policy.action(step, seed=1)
    logits = 2.0 * np.asarray(q_policy().distribution(step).action.logits)
    expected = logits[np.arange(50), result.action] - np.log(np.exp(logits).sum(axis=-1))
    np.testing.assert_allclose(result.info.log_probability, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [1e-6, 1e12])
@pytest.mark.parametrize("spec", [DISCRETE, SHIFTED])
def test_masks_stay_whatever_the_temperature(spec: BoundedArraySpec, temperature: float) -> None:
    step = masked_step([[0, 1, 0, 1]] * 300)
    policy = BoltzmannPolicy(masked_q_policy(spec, emit_log_probability=True), temperature)
    result = policy.action(step, seed=1)
    assert set(np.unique(result.action) - spec.minimum) <= {1, 3}
    assert np.all(np.isfinite(result.info.log_probability))
    distribution = policy.distribution(step).action
    masked = distribution.distribution if isinstance(distribution, ShiftedCategorical) else distribution
    np.testing.assert_array_equal(masked.mask, np.tile([[False, True, False, True]], (300, 1)))
    if temperature > 1:
        np.testing.assert_allclose(result.info.log_probability, np.full(300, -np.log(2)), rtol=1e-3)


def test_vectors_of_categoricals_are_divided_too() -> None:
    class Vector(TFPolicy):
        def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
            logits = tf.tile(tf.constant([[[0.0, 2.0], [4.0, 0.0]]]), [time_step.reward.shape[0], 1, 1])
            categorical = tfp.distributions.Categorical(logits=logits, dtype=tf.int64)
            return PolicyStep(tfp.distributions.Independent(categorical, 1), policy_state, ())

    policy = BoltzmannPolicy(Vector(STEP_SPEC, BoundedArraySpec((2,), np.int64, 0, 1)), 2.0)
    distribution = policy.distribution(random_step(3)).action
    np.testing.assert_allclose(distribution.distribution.logits[0], [[0.0, 1.0], [2.0, 0.0]])
    assert distribution.log_prob([[0, 0]] * 3).shape == (3,)
    assert policy.action(random_step(3)).action.shape == (3, 2)


def test_other_distributions_are_refused() -> None:
    with pytest.raises(ValueError, match="MultivariateNormalDiag"):
        BoltzmannPolicy(actor_policy()).action(random_step(2))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        BoltzmannPolicy(q_policy(), temperature)
