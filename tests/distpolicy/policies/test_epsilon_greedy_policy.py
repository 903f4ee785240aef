from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import actor_policy, masked_q_policy, masked_step, q_policy, random_step, seeds

from distpolicy.policies.epsilon_greedy_policy import EpsilonGreedyPolicy
from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_program import ProgramPolicy
from distpolicy.policies.program_builder import ProgramBuilder
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import map_structure
from distpolicy.weights import WeightsPacker


@pytest.mark.parametrize(
    "make",
    [lambda value: value, lambda value: lambda: value, tf.constant, lambda value: tf.Variable(value)],
    ids=["float", "callable", "tensor", "variable"],
)
def test_share_of_random_rows_is_epsilon(make: Any) -> None:
    step = random_step(6000)
    greedy = GreedyPolicy(q_policy()).action(step).action
    for epsilon in (0.0, 0.4, 1.0):
        action = EpsilonGreedyPolicy(q_policy(), make(epsilon)).action(step, seed=1).action
        # A random action is the greedy one in a quarter of the cases.
        assert abs(float(np.mean(action != greedy)) - 0.75 * epsilon) < 0.02
        if epsilon == 0.0:
            np.testing.assert_array_equal(action, greedy)


def test_log_probability_is_that_of_the_mixture() -> None:
    policy = EpsilonGreedyPolicy(q_policy(emit_log_probability=True), 0.4)
    step = random_step(200)
    result = policy.action(step, seed=1)
    is_greedy = np.asarray(result.action) == np.asarray(GreedyPolicy(q_policy()).action(step).action)
    assert 0 < is_greedy.sum() < 200
    expected = np.log(np.where(is_greedy, 0.6 + 0.4 / 4, 0.4 / 4))
    np.testing.assert_allclose(result.info.log_probability, expected, rtol=1e-5)


def test_log_probability_with_a_mask_counts_the_allowed_actions() -> None:
    policy = EpsilonGreedyPolicy(masked_q_policy(emit_log_probability=True), 0.5)
    step = masked_step([[1, 0, 1, 1]] * 100)
    result = policy.action(step, seed=3)
    greedy = np.asarray(GreedyPolicy(masked_q_policy()).action(step).action)
    assert not np.any(np.asarray(result.action) == 1)
    expected = np.log(0.5 / 3 + np.where(np.asarray(result.action) == greedy, 0.5, 0.0))
    np.testing.assert_allclose(result.info.log_probability, expected, rtol=1e-5)


def test_log_probability_of_a_continuous_action_is_a_density_or_a_point_s() -> None:
    policy = EpsilonGreedyPolicy(actor_policy(emit_log_probability=True), 0.5)
    step = random_step(100)
    result = policy.action(step, seed=1)
    greedy = GreedyPolicy(actor_policy()).action(step).action
    is_greedy = np.all(np.asarray(result.action) == np.asarray(greedy), axis=-1)
    assert 20 < is_greedy.sum() < 80
    expected = np.where(is_greedy, np.log(0.5), np.log(0.5) - np.log(2.0) - np.log(4.0))
    np.testing.assert_allclose(result.info.log_probability, expected, rtol=1e-5)


def test_exploration_mask_names_what_is_explored() -> None:
    policy = EpsilonGreedyPolicy(q_policy(), 1.0, exploration_mask=[0, 1, 1, 0])
    np.testing.assert_array_equal(np.unique(policy.action(random_step(200), seed=1).action), [1, 2])


def test_exploration_mask_and_the_policy_s_own_are_joined() -> None:
    policy = EpsilonGreedyPolicy(masked_q_policy(), 1.0, exploration_mask=[0, 1, 1, 0])
    step = masked_step([[1, 0, 1, 1]] * 50 + [[1, 0, 0, 1]] * 50)
    action = np.asarray(policy.action(step, seed=1).action)
    assert (action[:50] == 2).all()
    # Nothing that is explored is allowed: whatever is allowed.
    np.testing.assert_array_equal(np.unique(action[50:]), [0, 3])


@pytest.mark.parametrize("mask", [[1, 1, 1], [0, 0, 0, 0], [[1, 1, 1, 1]]])
def test_exploration_mask_that_does_not_fit_is_refused(mask: Any) -> None:
    with pytest.raises(ValueError, match="exploration_mask must have 4 entries"):
        EpsilonGreedyPolicy(q_policy(), 0.5, exploration_mask=mask)


def test_exploration_mask_is_for_one_discrete_action() -> None:
    with pytest.raises(NotImplementedError):
        EpsilonGreedyPolicy(actor_policy(), 0.5, exploration_mask=[1, 1])


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, float("nan"), 2])
def test_epsilon_outside_of_0_and_1_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        EpsilonGreedyPolicy(q_policy(), epsilon)


def test_variable_is_read_at_each_call_of_the_compiled_policy() -> None:
    epsilon = tf.Variable(0.0, trainable=False)
    policy = EpsilonGreedyPolicy(q_policy(), epsilon)
    compiled = tf.function(policy.action, autograph=False, jit_compile=True)
    step, rows = random_step(64), seeds(64)
    greedy = GreedyPolicy(q_policy()).action(step).action
    np.testing.assert_array_equal(compiled(step, (), rows).action, greedy)
    epsilon.assign(1.0)
    assert np.any(compiled(step, (), rows).action != greedy)
    assert compiled.experimental_get_tracing_count() == 1
    assert any(item is epsilon for item in policy.variables())


def test_state_is_the_wrapped_policy_s_and_is_reset_where_first() -> None:
    policy = EpsilonGreedyPolicy(q_policy(recurrent=True), 1.0)
    step = random_step(2, step_type=[StepType.FIRST, StepType.MID])
    state = policy.action(step, tf.ones([2, 3])).state
    np.testing.assert_allclose(state, step.observation + np.array([[0.0], [0.5]]), rtol=1e-6)


def test_info_is_the_wrapped_policy_s_in_every_row() -> None:
    spec = {"note": ArraySpec((), np.int32)}
    fixed = FixedPolicy(1, q_policy().time_step_spec, q_policy().action_spec, False, {"note": 3}, spec)
    policy = EpsilonGreedyPolicy(fixed, 0.5, info_fields_to_inherit_from_greedy=["note"])
    np.testing.assert_array_equal(policy.action(random_step(10)).info["note"], np.full(10, 3))
    with pytest.raises(ValueError, match="no field 'other'"):
        EpsilonGreedyPolicy(fixed, 0.5, info_fields_to_inherit_from_greedy=["other"])


def test_single_time_step_needs_no_batch() -> None:
    policy = EpsilonGreedyPolicy(FixedPolicy(2, q_policy().time_step_spec, q_policy().action_spec), 0.5)
    single = tf.nest.map_structure(lambda leaf: leaf[0], random_step(1))
    drawn = {int(policy.action(single, seed=seed).action) for seed in range(60)}
    assert drawn == {0, 1, 2, 3}


def test_rows_explore_by_their_own_seeds() -> None:
    policy, step, rows, order = EpsilonGreedyPolicy(q_policy(), 0.5), random_step(8), seeds(8), np.arange(8)[::-1]
    action = np.asarray(policy.action(step, seed=rows).action)
    reversed_step = tf.nest.map_structure(lambda leaf: tf.gather(leaf, order), step)
    np.testing.assert_array_equal(action[order], policy.action(reversed_step, seed=tf.gather(rows, order)).action)


def test_it_has_no_distribution() -> None:
    with pytest.raises(NotImplementedError):
        EpsilonGreedyPolicy(q_policy(), 0.5).distribution(random_step(1))


@pytest.mark.parametrize("masked", [False, True])
def test_it_runs_without_tensorflow_by_the_epsilon_of_the_weights(masked: bool) -> None:
    epsilon = tf.Variable(1.0, trainable=False)
    policy = EpsilonGreedyPolicy(masked_q_policy() if masked else q_policy(), epsilon)
    step = masked_step([[1, 0, 1, 1]] * 64) if masked else random_step(64)
    program = ProgramBuilder(policy, [64]).program
    arrays = map_structure(np.asarray, step)
    light = PyTFEagerPolicy(ProgramPolicy(program), batch_time_steps=False)
    packer, rows = WeightsPacker(policy), np.asarray(seeds(64))
    for version, value in enumerate((1.0, 0.3, 0.0)):
        epsilon.assign(value)
        light.update(packer.pack(0, version))
        np.testing.assert_array_equal(light.action(arrays, (), rows).action, policy.action(step, (), rows).action)
