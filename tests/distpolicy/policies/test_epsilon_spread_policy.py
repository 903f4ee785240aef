from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import q_policy, random_step, seeds

from distpolicy.errors import ConfigError
from distpolicy.policies.epsilon_greedy_policy import EpsilonGreedyPolicy
from distpolicy.policies.epsilon_spread_policy import EpsilonSpreadPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_program import ProgramPolicy
from distpolicy.policies.program_builder import ProgramBuilder
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import map_structure

NUM_EPISODES = 4000


def test_episodes_explore_by_powers_of_epsilon() -> None:
    policy = EpsilonSpreadPolicy(q_policy(), 0.4, spread=7.0)
    step = random_step(NUM_EPISODES, step_type=StepType.FIRST)
    greedy = np.asarray(GreedyPolicy(q_policy()).action(step).action)
    state, found = policy.get_initial_state(NUM_EPISODES), np.zeros(NUM_EPISODES)
    for t in range(30):
        result = policy.action(step, state, seeds(NUM_EPISODES, t))
        if t:
            np.testing.assert_array_equal(result.state[1], state[1])
        # A random action is the greedy one in a quarter of the cases.
        found += (np.asarray(result.action) != greedy) / 0.75 / 30
        state, step = result.state, step._replace(step_type=tf.fill([NUM_EPISODES], StepType.MID))
    place = np.asarray(state[1])
    assert np.abs(np.quantile(place, [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.03
    for low in (0.0, 0.25, 0.5, 0.75):
        part = (place >= low) & (place < low + 0.25)
        assert abs(found[part].mean() - (0.4 ** (1 + 7 * place[part])).mean()) < 0.01


def test_the_exponent_is_drawn_anew_where_an_episode_begins() -> None:
    policy = EpsilonSpreadPolicy(q_policy(recurrent=True), 0.4, spread=7.0)
    step = random_step(3, step_type=[StepType.FIRST, StepType.MID, StepType.LAST])
    state = (tf.ones([3, 3]), tf.constant([0.5, 0.5, 0.5]))
    after = policy.action(step, state, seeds(3)).state
    assert after[1][0] != 0.5
    np.testing.assert_array_equal(after[1][1:], [0.5, 0.5])
    np.testing.assert_allclose(after[0], policy.wrapped_policy.action(step, tf.ones([3, 3])).state)


def test_without_a_spread_it_is_epsilon_greedy() -> None:
    step, rows = random_step(50, step_type=StepType.FIRST), seeds(50)
    policy = EpsilonSpreadPolicy(q_policy(), 0.4, spread=0.0)
    expected = EpsilonGreedyPolicy(q_policy(), 0.4).action(step, (), rows).action
    np.testing.assert_array_equal(policy.action(step, policy.get_initial_state(50), rows).action, expected)


def test_it_runs_without_tensorflow() -> None:
    policy = EpsilonSpreadPolicy(q_policy(), tf.Variable(0.7, trainable=False), spread=3.0)
    light = PyTFEagerPolicy(ProgramPolicy(ProgramBuilder(policy, [64]).program), batch_time_steps=False)
    step = random_step(64, step_type=StepType.FIRST)
    arrays, state, rows = map_structure(np.asarray, step), policy.get_initial_state(64), np.asarray(seeds(64))
    found, expected = light.action(arrays, light.get_initial_state(64), rows), policy.action(step, state, rows)
    np.testing.assert_array_equal(found.action, expected.action)
    np.testing.assert_allclose(found.state[1], expected.state[1])


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="spread"):
        EpsilonSpreadPolicy(q_policy(), 0.4, spread=-1.0)
    with pytest.raises(ValueError, match="epsilon"):
        EpsilonSpreadPolicy(q_policy(), 1.4, spread=1.0)
