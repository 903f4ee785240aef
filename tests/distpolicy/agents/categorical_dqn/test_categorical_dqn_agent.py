"""Losses and gradients of C51 against NumPy, from the paper's algorithm."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from random_transitions import random_transitions

from distpolicy.agents.categorical_dqn.categorical_dqn_agent import CategoricalDqnAgent
from distpolicy.agents.categorical_dqn.config import C51Config
from distpolicy.errors import ConfigError
from distpolicy.networks.categorical_q_network import CategoricalQNetwork
from distpolicy.networks.q_network import QNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import time_step_spec

OBSERVATION = ArraySpec((3,), np.float32)
ACTION = BoundedArraySpec((), np.int64, 1, 3)
ATOMS, LOW, HIGH = 5, -2.0, 2.0
BATCH, RATE, GAMMA, SCALE = 6, 0.1, 0.9, 0.5
SUPPORT = np.linspace(LOW, HIGH, ATOMS)


def linear(seed: int) -> CategoricalQNetwork:
    return CategoricalQNetwork(OBSERVATION, ACTION, num_atoms=ATOMS, seed=seed)


def make(network: Any, target: Any = None, observation: Any = OBSERVATION, splitter: Any = None) -> CategoricalDqnAgent:
    return CategoricalDqnAgent(
        time_step_spec(observation),
        ACTION,
        network,
        keras.optimizers.SGD(RATE),
        min_q_value=LOW,
        max_q_value=HIGH,
        target_categorical_q_network=target,
        target_update_period=100,
        gamma=GAMMA,
        reward_scale_factor=SCALE,
        observation_and_action_constraint_splitter=splitter,
        jit_compile=False,
    )


def probabilities(network: CategoricalQNetwork, observation: np.ndarray) -> np.ndarray:
    bias, kernel = sorted((variable.numpy() for variable in network.variables), key=np.ndim)
    logits = (observation @ kernel + bias).reshape(-1, 3, ATOMS).astype(np.float64)
    shares = np.exp(logits)
    return shares / shares.sum(axis=-1, keepdims=True)


def projected(value: float, share: float, onto: np.ndarray) -> None:
    place = (min(max(value, LOW), HIGH) - LOW) / (HIGH - LOW) * (ATOMS - 1)
    lower = min(int(place), ATOMS - 2)
    onto[lower] += share * (lower + 1 - place)
    onto[lower + 1] += share * (place - lower)


def goal_of(following: np.ndarray, reward: float, discount: float, allowed: Any = range(3)) -> np.ndarray:
    """Returns the projection of what the best allowed action leads to; ``following`` is ``[3, ATOMS]``."""
    best = max(allowed, key=lambda action: following[action] @ SUPPORT)
    goal = np.zeros(ATOMS)
    for atom in range(ATOMS):
        projected(SCALE * reward + GAMMA * discount * SUPPORT[atom], following[best, atom], goal)
    return goal


def far_away(network: CategoricalQNetwork, seed: int = 3) -> None:
    """Sets a network's variables to others, whose distributions are far from uniform."""
    for copy, other in zip(network.variables, linear(seed).variables, strict=True):
        copy.assign(40 * other)


def test_loss_and_gradient_are_the_papers() -> None:
    network, target = linear(1), linear(2)
    agent = make(network, target)
    agent.initialize()
    far_away(target)
    data = random_transitions((BATCH,), np.random.default_rng(0).integers(1, 4, size=BATCH))
    weights = np.linspace(0.5, 1.5, BATCH, dtype=np.float32)
    own = probabilities(network, data.time_step.observation)
    following = probabilities(target, data.next_time_step.observation)
    loss, priority, steps = 0.0, np.zeros(BATCH), [np.zeros(variable.shape) for variable in network.variables]
    for row in range(BATCH):
        goal = goal_of(following[row], data.next_time_step.reward[row], data.next_time_step.discount[row])
        action = data.action_step.action[row] - 1
        priority[row] = -np.sum(goal * np.log(own[row, action]))
        loss += weights[row] * priority[row] / BATCH
        slope = np.zeros((3, ATOMS))
        slope[action] = weights[row] * (own[row, action] - goal) / BATCH
        for total in steps:
            total += slope.ravel() if total.ndim == 1 else np.outer(data.time_step.observation[row], slope.ravel())
    before = [variable.numpy() for variable in network.variables]
    info = agent.train(data, weights)
    np.testing.assert_allclose(info.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(info.extra["priorities"], priority, rtol=1e-5)
    for variable, start, total in zip(network.variables, before, steps, strict=True):
        np.testing.assert_allclose(variable, start - RATE * total, atol=1e-6)
        assert np.abs(total).max() > 0.01


def test_only_allowed_actions_are_bootstrapped_from() -> None:
    specs = {"values": OBSERVATION, "mask": BoundedArraySpec((3,), np.int32, 0, 1)}
    mask = np.array([[0, 1, 1], [1, 0, 0]] * BATCH, np.int32)[:BATCH]
    network, target = linear(1), linear(2)
    agent = make(network, target, specs, lambda observation: (observation["values"], observation["mask"]))
    agent.initialize()
    far_away(network, 4)
    far_away(target)
    data = random_transitions((BATCH,), np.random.default_rng(0).integers(1, 4, size=BATCH))
    step, following = data.next_time_step, data.next_time_step.observation
    own, other = probabilities(network, data.time_step.observation), probabilities(target, following)
    expected = np.zeros((2, BATCH))
    for row, action in enumerate(data.action_step.action - 1):
        for place, allowed in enumerate((np.flatnonzero(mask[row]), range(3))):
            goal = goal_of(other[row], step.reward[row], step.discount[row], allowed)
            expected[place, row] = -np.sum(goal * np.log(own[row, action]))
    assert np.abs(expected[0] - expected[1]).max() > 0.1, "the best actions are allowed anyway"
    masked = data._replace(
        time_step=data.time_step._replace(observation={"values": data.time_step.observation, "mask": mask}),
        next_time_step=step._replace(observation={"values": following, "mask": mask}),
    )
    info = agent.train(masked)
    np.testing.assert_allclose(info.extra["priorities"], expected[0], rtol=1e-5)
    np.testing.assert_allclose(info.loss, expected[0].mean(), rtol=1e-5)


def test_both_policies_act_by_expected_values() -> None:
    agent = make(linear(1))
    data = random_transitions((BATCH,), np.ones(BATCH, np.int64))
    shares = probabilities(agent._q_network, data.time_step.observation)
    np.testing.assert_array_equal(agent.policy.action(data.time_step).action, 1 + np.argmax(shares @ SUPPORT, axis=1))


def test_a_network_without_atoms_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_atoms"):
        make(QNetwork(OBSERVATION, ACTION))


@pytest.mark.parametrize("change", [{"num_atoms": 1}, {"min_q_value": 10.0}])
def test_settings_are_checked(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        C51Config(**change)
