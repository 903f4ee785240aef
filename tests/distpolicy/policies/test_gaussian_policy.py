from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import BOX, STEP_SPEC, actor_policy, q_policy, random_step, seeds

from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.gaussian_policy import GaussianPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import StepType


def _wide() -> BoundedArraySpec:
    return BoundedArraySpec((2,), np.float32, -100.0, 100.0)


def test_each_element_of_each_row_has_its_own_noise() -> None:
    policy = GaussianPolicy(FixedPolicy(np.zeros(2), STEP_SPEC, _wide()), scale=0.5)
    noise = np.asarray(policy.action(random_step(4000), seed=1).action)
    assert abs(noise.std() - 0.5) < 0.02
    assert abs(noise.mean()) < 0.02
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.05
    assert abs(np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]) < 0.05


def test_leaves_of_a_nest_have_noise_of_their_own() -> None:
    spec = {"b": _wide(), "a": [_wide()]}
    policy = GaussianPolicy(FixedPolicy({"b": np.zeros(2), "a": [np.zeros(2)]}, STEP_SPEC, spec))
    action = policy.action(random_step(2000), seed=1).action
    assert abs(np.corrcoef(np.ravel(action["b"]), np.ravel(action["a"][0]))[0, 1]) < 0.05


def test_scale_can_be_one_for_each_element() -> None:
    policy = GaussianPolicy(FixedPolicy(np.zeros(2), STEP_SPEC, _wide()), scale=tf.Variable([0.0, 2.0]))
    noise = np.asarray(policy.action(random_step(2000), seed=1).action)
    np.testing.assert_array_equal(noise[:, 0], np.zeros(2000))
    assert abs(noise[:, 1].std() - 2.0) < 0.1


@pytest.mark.parametrize("clip", [True, False])
def test_noisy_actions_are_clipped_if_wanted(clip: bool) -> None:
    action = np.asarray(
        GaussianPolicy(FixedPolicy(np.array([1.0, 4.0]), STEP_SPEC, BOX), clip=clip).action(random_step(100)).action
    )
    assert np.all(action <= BOX.maximum) == clip


def test_noise_is_not_the_draw_of_the_wrapped_policy() -> None:
    inner = actor_policy(clip=False)
    step, rows = random_step(3000), seeds(3000)
    drawn = inner.action(step, seed=rows).action
    own = drawn - GreedyPolicy(inner).action(step, seed=rows).action
    added = GaussianPolicy(inner, clip=False).action(step, seed=rows).action - drawn
    twice = GaussianPolicy(GaussianPolicy(inner, clip=False), clip=False).action(step, seed=rows).action - drawn - added
    correlation = np.corrcoef([np.ravel(own), np.ravel(added), np.ravel(twice)])
    assert np.abs(correlation - np.eye(3)).max() < 0.06


def test_state_info_and_variables_are_the_wrapped_policy_s() -> None:
    inner = actor_policy(recurrent=True, emit_log_probability=True)
    policy = GaussianPolicy(inner, scale=0.1)
    step = random_step(2, step_type=[StepType.FIRST, StepType.MID])
    result = policy.action(step, tf.ones([2, 3]), seeds(2))
    expected = inner.action(step, tf.ones([2, 3]), seeds(2))
    np.testing.assert_allclose(result.state, expected.state)
    np.testing.assert_allclose(result.info.log_probability, expected.info.log_probability)
    assert [id(item) for item in policy.variables()] == [id(item) for item in inner.variables()]
    assert policy.wrapped_policy is inner


def test_integer_actions_are_refused() -> None:
    with pytest.raises(ValueError, match="continuous actions, but action_spec has dtype int64"):
        GaussianPolicy(q_policy())


def test_it_has_no_distribution() -> None:
    with pytest.raises(NotImplementedError):
        GaussianPolicy(actor_policy()).distribution(random_step(1))
