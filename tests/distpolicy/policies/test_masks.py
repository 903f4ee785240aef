"""Masks of a wrong width, and splitters of every kind, in all policies that take masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import DISCRETE, MASKED_STEP_SPEC, SHIFTED, Linear, masked_step, split

from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.categorical_q_network import CategoricalQNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.categorical_q_policy import CategoricalQPolicy
from distpolicy.policies.epsilon_greedy_policy import EpsilonGreedyPolicy
from distpolicy.policies.q_policy import QPolicy
from distpolicy.policies.random_py_policy import RandomPyPolicy
from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import TimeStep

VECTOR = ArraySpec((3,), np.float32)


def make_actor(step_spec: TimeStep, splitter: Any) -> TFPolicy:
    network = ActorDistributionNetwork(VECTOR, DISCRETE, fc_layer_params=(4,))
    return ActorPolicy(step_spec, DISCRETE, network, observation_and_action_constraint_splitter=splitter)


def make_q(step_spec: TimeStep, splitter: Any) -> TFPolicy:
    return QPolicy(step_spec, SHIFTED, Linear((4,)), observation_and_action_constraint_splitter=splitter)


def make_categorical_q(step_spec: TimeStep, splitter: Any) -> TFPolicy:
    network = CategoricalQNetwork(VECTOR, DISCRETE, num_atoms=5, fc_layer_params=(4,))
    return CategoricalQPolicy(
        step_spec, DISCRETE, network, -1.0, 1.0, observation_and_action_constraint_splitter=splitter
    )


def make_epsilon_greedy(step_spec: TimeStep, splitter: Any) -> TFPolicy:
    return EpsilonGreedyPolicy(make_q(step_spec, splitter), 0.5, exploration_mask=(1, 1, 1, 0))


def make_random(step_spec: TimeStep, splitter: Any) -> TFPolicy:
    return RandomTFPolicy(step_spec, DISCRETE, observation_and_action_constraint_splitter=splitter)


WITH_NETWORKS = [make_actor, make_q, make_categorical_q, make_epsilon_greedy]
make_policy = pytest.mark.parametrize("make", [*WITH_NETWORKS, make_random])
Make = Callable[[TimeStep, Any], TFPolicy]

WHOLE = ts.time_step_spec(ArraySpec((7,), np.float32))


def sliced(observation: Any) -> tuple[Any, Any]:
    return observation[..., :3], observation[..., 3:]


def whole_step(mask: Any) -> TimeStep:
    step = masked_step(mask)
    joined = tf.concat([step.observation["x"], tf.cast(step.observation["mask"], tf.float32)], axis=-1)
    return step._replace(observation=joined)


@make_policy
def test_splitter_may_slice_an_array(make: Make) -> None:
    mask = [[0, 1, 0, 0], [0, 0, 1, 0]]
    action = np.asarray(make(WHOLE, sliced).action(whole_step(mask), seed=1).action)
    expected = np.asarray(make(MASKED_STEP_SPEC, split).action(masked_step(mask), seed=1).action)
    np.testing.assert_array_equal(action - action[0], [0, 1])
    np.testing.assert_array_equal(action, expected)


@make_policy
@pytest.mark.parametrize("width", [1, 3, 5])
def test_mask_of_another_width_is_named_in_one_line(make: Make, width: int) -> None:
    spec = ts.time_step_spec({"x": VECTOR, "mask": ArraySpec((width,), np.int32)})
    with pytest.raises(ValueError, match=rf"4 actions, but the mask has shape \(.*{width},?\)") as error:
        make(spec, split).action(masked_step([[1] * width]))
    assert "\n" not in str(error.value)


wrong_splitters = pytest.mark.parametrize(
    "splitter",
    [lambda observation: observation["x"], lambda observation: observation["y"], lambda observation: (1, 2, 3)],
    ids=["no pair", "no such key", "three"],
)


@pytest.mark.parametrize("make", WITH_NETWORKS)
@wrong_splitters
def test_splitter_that_fails_is_told_what_to_return(make: Make, splitter: Any) -> None:
    with pytest.raises(ValueError, match="must return the network's input and a mask") as error:
        make(MASKED_STEP_SPEC, splitter)
    assert "\n" not in str(error.value)


@wrong_splitters
def test_so_it_is_by_policies_that_only_draw(splitter: Any) -> None:
    array_step = tf.nest.map_structure(np.asarray, masked_step([[1] * 4] * 3))
    for policy, step in (
        (make_random(MASKED_STEP_SPEC, splitter), masked_step([[1] * 4] * 3)),
        (RandomPyPolicy(MASKED_STEP_SPEC, DISCRETE, observation_and_action_constraint_splitter=splitter), array_step),
    ):
        with pytest.raises(ValueError, match="must return the network's input and a mask") as error:
            policy.action(step)
        assert "\n" not in str(error.value)
