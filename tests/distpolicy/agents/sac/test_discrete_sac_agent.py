"""Discrete soft actor-critic against NumPy, written from Christodoulou, 2019."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from off_policy_reference import (
    Arrays,
    arrays,
    assert_close,
    descended,
    gradients,
    mlp,
    random_transitions,
    weighted_mean,
)

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.sac.config import SACConfig
from distpolicy.agents.sac.discrete_sac_agent import DiscreteSacAgent
from distpolicy.agents.sac.sac_agent import SacAgent
from distpolicy.agents.twin_critic_network import TwinCriticNetwork
from distpolicy.errors import SpecMismatchError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.q_network import QNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.tensor_spec import from_spec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import StepType, time_step_spec
from distpolicy.trajectories.transitions import Transition

# The first two elements are the networks' input, the others the mask of the three actions.
OBSERVATION, NUM_ACTIONS, LOWEST = ArraySpec((5,), np.float32), 3, 2
INPUT = ArraySpec((2,), np.float32)
ACTION = BoundedArraySpec((), np.int64, LOWEST, LOWEST + NUM_ACTIONS - 1)
GAMMA, TAU, SHARE, LOG_ALPHA = 0.9, 0.3, 0.7, -0.4
RATES = {"actor": 0.05, "critic": 0.1, "alpha": 0.2}
BATCH = 8


def split(observation: Any) -> tuple[Any, Any]:
    return observation[..., :2], observation[..., 2:]


def make_critic(seed: int) -> QNetwork:
    return QNetwork(
        INPUT, ACTION, fc_layer_params=(4,), activation_fn="tanh", kernel_initializer="glorot_uniform", seed=seed
    )


def make_agent(**arguments: Any) -> DiscreteSacAgent:
    settings = {
        "critic_network": make_critic(1),
        "critic_network_2": make_critic(100),
        "actor_network": ActorDistributionNetwork(INPUT, ACTION, fc_layer_params=(3,), activation_fn="tanh", seed=3),
        "actor_optimizer": keras.optimizers.SGD(RATES["actor"]),
        "critic_optimizer": keras.optimizers.SGD(RATES["critic"]),
        "alpha_optimizer": keras.optimizers.SGD(RATES["alpha"]),
        "target_update_tau": TAU,
        "gamma": GAMMA,
        "initial_log_alpha": LOG_ALPHA,
        "target_entropy_share": SHARE,
        "observation_and_action_constraint_splitter": split,
    }
    return DiscreteSacAgent(time_step_spec(OBSERVATION), ACTION, **{**settings, **arguments})


def random_batch(seed: int) -> Transition:
    draws = np.random.default_rng(seed)
    batch = random_transitions(ACTION, 5, (BATCH,), seed)
    for step in (batch.time_step, batch.next_time_step):
        step.observation[:, 2:] = draws.integers(0, 2, (BATCH, NUM_ACTIONS))
        step.observation[:, 2 + seed % NUM_ACTIONS] = 1.0
    # After an episode's end a mask may allow nothing.
    batch.next_time_step.observation[0, 2:] = 0.0
    batch.time_step.step_type[3] = StepType.LAST
    action = draws.integers(LOWEST, LOWEST + NUM_ACTIONS, BATCH)
    return batch.replace(action_step=batch.action_step._replace(action=action))


class Reference:
    """One gradient step in float64."""

    def __init__(self, actor: Arrays, critics: list[Arrays]) -> None:
        self.actor, self.critics, self.targets, self.log_alpha = actor, critics, critics, LOG_ALPHA

    def probabilities(self, actor: Arrays, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the probabilities, and their logarithms or 0."""
        allowed = observation[:, 2:] > 0
        allowed |= ~allowed.any(axis=1, keepdims=True)
        weights = np.where(allowed, np.exp(mlp(actor, observation[:, :2])), 0.0)
        probs = weights / weights.sum(axis=1, keepdims=True)
        return probs, np.log(np.where(allowed, probs, 1.0))

    def lowest(self, critics: list[Arrays], observation: np.ndarray) -> np.ndarray:
        return np.min([mlp(critic, observation[:, :2]) for critic in critics], axis=0)

    def step(self, batch: Transition, weights: np.ndarray) -> dict[str, Any]:
        weights = np.where(batch.time_step.step_type == StepType.LAST, 0.0, weights)
        now, after, alpha = batch.time_step, batch.next_time_step, np.exp(self.log_alpha)
        probs, log_probs = self.probabilities(self.actor, after.observation)
        soft = np.sum(probs * (self.lowest(self.targets, after.observation) - alpha * log_probs), axis=1)
        target = after.reward + GAMMA * after.discount * soft
        index = batch.action_step.action - LOWEST

        def critic_loss(flat: Arrays) -> float:
            found = [mlp(critic, now.observation[:, :2])[np.arange(BATCH), index] for critic in (flat[:4], flat[4:])]
            return 0.5 * weighted_mean(np.sum((target - np.array(found)) ** 2, axis=0), weights)

        flat = [*self.critics[0], *self.critics[1]]
        results = {"critic_loss": critic_loss(flat)}
        flat = descended(flat, gradients(critic_loss, flat), RATES["critic"])
        self.critics = [flat[:4], flat[4:]]

        def actor_loss(actor: Arrays) -> float:
            probs, log_probs = self.probabilities(actor, now.observation)
            rows = np.sum(probs * (alpha * log_probs - self.lowest(self.critics, now.observation)), axis=1)
            return weighted_mean(rows, weights)

        probs, log_probs = self.probabilities(self.actor, now.observation)
        entropy = -np.sum(probs * log_probs, axis=1)
        results["actor_loss"] = actor_loss(self.actor)
        results["entropy"] = weighted_mean(entropy, (weights > 0).astype(float))
        self.actor = descended(self.actor, gradients(actor_loss, self.actor), RATES["actor"])
        slope = weighted_mean(entropy - SHARE * np.log(np.maximum(now.observation[:, 2:].sum(axis=1), 1.0)), weights)
        self.log_alpha -= RATES["alpha"] * slope
        results["alpha"] = np.exp(self.log_alpha)
        self.targets = [
            [(1.0 - TAU) * old + TAU * new for old, new in zip(old_critic, critic, strict=True)]
            for old_critic, critic in zip(self.targets, self.critics, strict=True)
        ]
        return results


def test_its_steps_are_the_papers() -> None:
    critics = [make_critic(1), make_critic(100)]
    actor = ActorDistributionNetwork(INPUT, ACTION, fc_layer_params=(3,), activation_fn="tanh", seed=3)
    agent = make_agent(critic_network=critics[0], critic_network_2=critics[1], actor_network=actor)
    agent.initialize()
    reference = Reference(arrays(actor.variables), [arrays(critic.variables) for critic in critics])
    for seed in range(3):
        batch = random_batch(seed)
        weights = np.random.default_rng(seed).uniform(0.2, 1.0, BATCH).astype(np.float32)
        info = agent.train(batch, weights)
        for name, value in reference.step(batch, weights).items():
            np.testing.assert_allclose(info.extra[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
        assert_close(actor.variables, reference.actor)
        for critic, values in zip(critics, reference.critics, strict=True):
            assert_close(critic.variables, values)


def test_a_twin_network_learns_as_two_networks_do() -> None:
    twin = TwinCriticNetwork(from_spec(INPUT), (4,), "tanh", num_actions=NUM_ACTIONS, seed=4)
    singles = [make_critic(1), make_critic(2)]
    for index, single in enumerate(singles):
        single.create_variables()
        ordered = sorted(twin.trainable_variables, key=lambda item: (item.name[-3:], "bias" in item.name))
        for many, one in zip(ordered, single.trainable_variables, strict=True):
            one.assign(tf.reshape(many[index], one.shape))
    found = []
    for first, second in ((twin, None), singles):
        agent = make_agent(critic_network=first, critic_network_2=second)
        agent.initialize()
        found.append([agent.train(random_batch(seed)).extra for seed in range(3)])
    for one, two in zip(*found, strict=True):
        for name in ("critic_loss", "actor_loss", "priorities", "q_mean"):
            np.testing.assert_allclose(one[name], two[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("has_begun", [False, True])
def test_the_collect_policy_takes_allowed_actions_only(has_begun: bool) -> None:
    agent = make_agent()
    agent.explore(0.0, has_begun=has_begun)
    step = tf.nest.map_structure(lambda spec: tf.zeros([600, *spec.shape], spec.dtype), agent.time_step_spec)
    observation = np.zeros((600, 5), np.float32)
    observation[:, [2, 4]] = 1.0
    actions = agent.collect_policy.action(step._replace(observation=observation), seed=2).action.numpy()
    assert set(actions) == {LOWEST, LOWEST + 2}
    if not has_begun:
        assert 240 < np.sum(actions == LOWEST) < 360


@pytest.mark.parametrize(
    ("action", "kind"),
    [(ACTION, DiscreteSacAgent), (BoundedArraySpec((2,), np.float32, -1.0, 1.0), SacAgent)],
)
def test_the_action_decides_which_agent_is_built(action: Any, kind: type) -> None:
    specs = EnvironmentSpecs(time_step_spec(OBSERVATION), action)
    agent = SACConfig(target_entropy=0.5).make_agent(specs, NetworkConfig(), LearnerOptions(jit_compile=False))
    assert type(agent) is kind


def test_several_discrete_actions_are_refused() -> None:
    specs = EnvironmentSpecs(time_step_spec(OBSERVATION), BoundedArraySpec((2,), np.int64, 0, 2))
    with pytest.raises(SpecMismatchError, match="sac has one scalar integer action"):
        SACConfig().make_agent(specs, NetworkConfig(), LearnerOptions())
