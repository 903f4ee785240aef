from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import STEP_SPEC, actor_policy, q_policy, random_step, seeds

from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.ou_noise_policy import OUNoisePolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import StepType

WIDE = BoundedArraySpec((2,), np.float32, -100.0, 100.0)


def _policy(**arguments: float) -> OUNoisePolicy:
    return OUNoisePolicy(FixedPolicy(np.zeros(2), STEP_SPEC, WIDE), **arguments)


def test_noise_is_what_is_left_of_the_last_and_something_new() -> None:
    policy, rows = _policy(ou_stddev=0.3, ou_damping=0.15), seeds(5)
    initial = policy.get_initial_state(5)
    new = policy.action(random_step(5), initial, rows).action
    carried = policy.action(random_step(5), ((), 10.0 * tf.ones([5, 2])), rows)
    np.testing.assert_allclose(carried.action, 8.5 + np.asarray(new), rtol=1e-5)
    np.testing.assert_array_equal(carried.state[1], carried.action)


def test_process_of_each_row_has_the_variance_of_its_closed_form() -> None:
    policy, state, noise = _policy(ou_stddev=0.5, ou_damping=0.2), _policy().get_initial_state(500), []
    for index in range(60):
        step = policy.action(random_step(500), state, index)
        state = step.state
        noise.append(np.asarray(step.action))
    settled = np.stack(noise[30:])
    # stddev² / (1 - (1 - damping)²)
    assert abs(settled.std() - np.sqrt(0.25 / (1 - 0.64))) < 0.03
    rows = settled[-1]
    assert abs(np.corrcoef(rows[:-1, 0], rows[1:, 0])[0, 1]) < 0.15
    lagged = np.corrcoef(settled[:-1].ravel(), settled[1:].ravel())[0, 1]
    assert abs(lagged - 0.8) < 0.05


def test_noise_begins_at_0_where_first() -> None:
    policy, rows = _policy(), seeds(2)
    state = ((), 50.0 * tf.ones([2, 2]))
    damped = _policy(ou_damping=0.0)
    step = random_step(2, step_type=[StepType.FIRST, StepType.MID])
    new = np.asarray(policy.action(step, policy.get_initial_state(2), rows).action)
    np.testing.assert_allclose(damped.action(step, state, rows).action, new + np.array([[0.0], [50.0]]), rtol=1e-5)


def test_wrapped_policy_s_state_is_carried_beside_the_noise() -> None:
    policy = OUNoisePolicy(actor_policy(recurrent=True), 0.1, 0.1)
    state = policy.get_initial_state(2)
    assert state[0].shape == (2, 3)
    step = random_step(2, step_type=[StepType.FIRST, StepType.MID])
    after = policy.action(step, (tf.ones([2, 3]), state[1])).state
    np.testing.assert_allclose(after[0], step.observation + np.array([[0.0], [0.5]]), rtol=1e-6)
    assert policy.get_initial_state(None)[1].shape == (2,)


def test_missing_state_and_time_dimensions_are_refused() -> None:
    policy = _policy()
    with pytest.raises(ValueError, match="stateful"):
        policy.action(random_step(2))
    unrolled = tf.nest.map_structure(lambda leaf: leaf[:, tf.newaxis], random_step(2))
    with pytest.raises(ValueError, match="one outer dimension"):
        policy.action(unrolled, policy.get_initial_state(2))


def test_noisy_actions_are_clipped_if_wanted() -> None:
    spec = BoundedArraySpec((2,), np.float32, -0.1, 0.1)
    inner = FixedPolicy(np.zeros(2), STEP_SPEC, spec)
    for clip in (True, False):
        policy = OUNoisePolicy(inner, clip=clip)
        result = policy.action(random_step(50), policy.get_initial_state(50))
        assert np.all(np.abs(result.action) <= np.float32(0.1)) == clip
        assert np.abs(result.state[1]).max() > 0.1


def test_integer_actions_are_refused_and_there_is_no_distribution() -> None:
    with pytest.raises(ValueError, match="continuous"):
        OUNoisePolicy(q_policy())
    policy = _policy()
    with pytest.raises(NotImplementedError):
        policy.distribution(random_step(1), policy.get_initial_state(1))
