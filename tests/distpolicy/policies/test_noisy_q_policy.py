from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import DISCRETE, STEP_SPEC, random_step, seeds

from distpolicy.errors import ConfigError
from distpolicy.networks.noisy_q_network import NoisyQNetwork
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.noisy_q_policy import NoisyQPolicy
from distpolicy.policies.policy_program import ProgramPolicy
from distpolicy.policies.program_builder import ProgramBuilder
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.q_policy import QPolicy
from distpolicy.utils.nests.array_nest import map_structure


def make(epsilon: Any = 0.0, **arguments: Any) -> NoisyQPolicy:
    network = NoisyQNetwork(STEP_SPEC.observation, DISCRETE, seed=1)
    return NoisyQPolicy(QPolicy(STEP_SPEC, DISCRETE, network, **arguments), network, epsilon)


def test_noise_changes_some_actions_row_by_row_and_step_by_step() -> None:
    policy, step = make(), random_step(400)
    certain = np.asarray(GreedyPolicy(policy.wrapped_policy).action(step).action)
    first, second = (np.asarray(policy.action(step, (), seeds(400, number)).action) for number in (0, 1))
    assert 0.02 < np.mean(first != certain) < 0.9
    assert np.any(first != second)
    rows = np.array([7, 3])
    part = tf.nest.map_structure(lambda leaf: tf.gather(leaf, rows), step)
    np.testing.assert_array_equal(policy.action(part, (), tf.gather(seeds(400, 0), rows)).action, first[rows])


def test_it_acts_without_tensorflow_and_at_random_before_it_learns() -> None:
    epsilon = tf.Variable(1.0, trainable=False)
    policy, step = make(epsilon), random_step(64)
    light = PyTFEagerPolicy(ProgramPolicy(ProgramBuilder(policy, [64]).program), batch_time_steps=False)
    arrays, rows = map_structure(np.asarray, step), np.asarray(seeds(64))
    expected = policy.action(step, (), rows).action
    np.testing.assert_array_equal(light.action(arrays, (), rows).action, expected)
    assert len(np.unique(expected)) == 4


def test_log_probabilities_are_refused() -> None:
    with pytest.raises(ConfigError, match="emit_log_probability"):
        make(emit_log_probability=True)
