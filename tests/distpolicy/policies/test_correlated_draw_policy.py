"""CorrelatedDrawPolicy: each action has the wrapped policy's distribution, and successive ones are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.errors import ConfigError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.correlated_draw_policy import CorrelatedDrawPolicy
from distpolicy.policies.policy_program import ProgramPolicy
from distpolicy.policies.program_builder import ProgramBuilder
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.testing.data import assert_nests_close, row_seeds
from distpolicy.trajectories.time_step import StepType, TimeStep, time_step_spec

OBSERVATION = ArraySpec((3,), np.float32)
ACTION = {"a": BoundedArraySpec((2,), np.float32, -1.0, [3.0, 0.5]), "b": BoundedArraySpec((), np.float32, 0.0, 1.0)}
NUM_ROWS = 4000


def make_actor() -> ActorPolicy:
    network = ActorDistributionNetwork(
        OBSERVATION, ACTION, fc_layer_params=(4,), seed=1, continuous_projection_net=TanhNormalProjectionNetwork
    )
    return ActorPolicy(time_step_spec(OBSERVATION), ACTION, network)


def step_of(kind: int, num_rows: int = NUM_ROWS) -> TimeStep:
    zeros = np.zeros(num_rows, np.float32)
    return TimeStep(np.full(num_rows, kind, np.int32), zeros, zeros, np.full((num_rows, 3), 0.3, np.float32))


def correlations(one: Any, two: Any) -> np.ndarray:
    """Correlations of each element of the noise of two steps."""
    pairs = zip(tf.nest.flatten(one), tf.nest.flatten(two), strict=True)
    columns = [(np.reshape(left, (NUM_ROWS, -1)), np.reshape(right, (NUM_ROWS, -1))) for left, right in pairs]
    found = [
        np.corrcoef(left[:, index], right[:, index])[0, 1] for left, right in columns for index in range(left.shape[1])
    ]
    return np.array(found)


def test_every_action_is_distributed_as_the_wrapped_policys() -> None:
    actor = make_actor()
    policy = CorrelatedDrawPolicy(actor, 0.9)
    expected = actor.action(step_of(StepType.MID), seed=11).action
    state = policy.get_initial_state(NUM_ROWS)
    for number, kind in enumerate((StepType.FIRST, StepType.MID, StepType.MID)):
        step = policy.action(step_of(kind), state, seed=number)
        state = step.state
        for found, wanted in zip(tf.nest.flatten(step.action), tf.nest.flatten(expected), strict=True):
            quantiles = [np.quantile(leaf, [0.1, 0.3, 0.5, 0.7, 0.9], axis=0) for leaf in (found, wanted)]
            np.testing.assert_allclose(*quantiles, atol=0.12)


def test_the_noise_of_two_steps_has_the_correlation_and_begins_anew_at_first() -> None:
    policy = CorrelatedDrawPolicy(make_actor(), 0.8)
    start = policy.action(step_of(StepType.FIRST), policy.get_initial_state(NUM_ROWS), seed=1).state
    same_episode = policy.action(step_of(StepType.MID), start, seed=2).state
    next_episode = policy.action(step_of(StepType.FIRST), start, seed=2).state
    np.testing.assert_allclose(correlations(start[1], same_episode[1]), 0.8, atol=0.05)
    np.testing.assert_allclose(correlations(start[1], next_episode[1]), 0.0, atol=0.08)


def test_it_acts_without_tensorflow() -> None:
    policy = CorrelatedDrawPolicy(make_actor(), 0.8)
    light = PyTFEagerPolicy(ProgramPolicy(ProgramBuilder(policy, [8]).program), batch_time_steps=False)
    eager = PyTFEagerPolicy(policy, batch_time_steps=False, inference="tf")
    states = [one.get_initial_state(8) for one in (light, eager)]
    for number, kind in enumerate((StepType.FIRST, StepType.MID)):
        found, expected = (
            one.action(step_of(kind, 8), state, seed=row_seeds(8, number))
            for one, state in zip((light, eager), states, strict=True)
        )
        assert_nests_close(found.action, expected.action)
        states = [found.state, expected.state]


@pytest.mark.parametrize("correlation", [-0.1, 1.0])
def test_a_correlation_out_of_range_is_refused(correlation: float) -> None:
    with pytest.raises(ConfigError, match=r"correlation must be in \[0, 1\)"):
        CorrelatedDrawPolicy(make_actor(), correlation)
