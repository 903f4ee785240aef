from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import STEP_SPEC, actor_policy, q_policy, random_step, seeds

from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.temporal_action_smoothing import TemporalActionSmoothing
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import StepType

SPEC = BoundedArraySpec((2,), np.float32, 0.5, 3.0)


def test_action_is_mixed_with_the_one_before() -> None:
    policy = TemporalActionSmoothing(FixedPolicy(np.array([1.0, 2.0]), STEP_SPEC, SPEC), 0.75)
    state = policy.get_initial_state(2)
    kept = np.zeros((2, 2))
    for step_type in ([0, 0], [1, 1], [1, 0], [2, 1]):
        step = policy.action(random_step(2, step_type=step_type), state)
        kept = np.where(np.equal(step_type, StepType.FIRST)[:, np.newaxis], 0.0, kept)
        kept = 0.75 * kept + 0.25 * np.array([1.0, 2.0])
        np.testing.assert_allclose(step.state[1], kept, rtol=1e-6)
        # Clipped only where it is returned.
        np.testing.assert_allclose(step.action, np.clip(kept, 0.5, 3.0), rtol=1e-6)
        state = step.state


def test_wrapped_policy_s_state_and_info_are_passed_on() -> None:
    inner = actor_policy(recurrent=True, emit_log_probability=True)
    policy = TemporalActionSmoothing(inner, 0.5)
    step = random_step(2, step_type=[StepType.FIRST, StepType.MID])
    result = policy.action(step, (tf.ones([2, 3]), tf.ones([2, 2])), seeds(2))
    expected = inner.action(step, tf.ones([2, 3]), seeds(2))
    np.testing.assert_allclose(result.state[0], expected.state)
    np.testing.assert_allclose(result.info.log_probability, expected.info.log_probability)
    smoothed = 0.5 * np.array([[0.0], [1.0]]) + 0.5 * expected.action
    np.testing.assert_allclose(result.state[1], smoothed, rtol=1e-6)
    assert [id(item) for item in policy.variables()] == [id(item) for item in inner.variables()]


def test_state_spec_is_the_wrapped_one_and_the_action() -> None:
    policy = TemporalActionSmoothing(actor_policy(recurrent=True), 0.5)
    assert policy.policy_state_spec == (policy.wrapped_policy.policy_state_spec, policy.action_spec)
    assert policy.get_initial_state(None)[1].shape == (2,)
    assert TemporalActionSmoothing(actor_policy(), 0.5).get_initial_state(4)[0] == ()


@pytest.mark.parametrize("coefficient", [-0.1, 1.5, float("nan")])
def test_coefficient_outside_of_0_and_1_is_refused(coefficient: float) -> None:
    with pytest.raises(ValueError, match="smoothing_coefficient"):
        TemporalActionSmoothing(actor_policy(), coefficient)


def test_integer_actions_are_refused_and_there_is_no_distribution() -> None:
    with pytest.raises(ValueError, match="continuous"):
        TemporalActionSmoothing(q_policy(), 0.5)
    policy = TemporalActionSmoothing(actor_policy(), 0.5)
    with pytest.raises(NotImplementedError):
        policy.distribution(random_step(1), policy.get_initial_state(1))
