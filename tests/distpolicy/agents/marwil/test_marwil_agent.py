"""MARWIL's loss and gradient of a batch against NumPy, after Wang et al. (2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from offline_batches import ACTIONS, DISCRETE, NESTED, B, softmax, specs_of, transitions

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.behavioral_cloning.config import BehavioralCloningConfig
from distpolicy.agents.marwil.config import MarwilConfig
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.time_step import TimeStep

NO_LAYERS = NetworkConfig(actor_units=())
UNCLIPPED = {"max_gradient_norm": 1e9}


def make(action_spec: Any, networks: NetworkConfig = NO_LAYERS, **settings: Any) -> TFAgent:
    config = MarwilConfig(**{"value_units": (), **UNCLIPPED, **settings})
    agent = config.make_agent(specs_of(action_spec), networks, LearnerOptions(seed=1, jit_compile=False))
    agent.initialize()
    return agent


def arguments(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(100 + seed)
    returned, final_discount = rng.normal(size=B) * 3, np.array([0, 0.5, 0, 0.9, 0, 0])
    final = rng.normal(size=(B, 3)).astype(np.float32)
    numbers = {"return_to_go": returned, "final_discount": final_discount}
    return {**{name: value.astype(np.float32) for name, value in numbers.items()}, "final_observation": final}


def values(agent: TFAgent) -> dict[str, np.ndarray]:
    return {item.path: item.variable.numpy() for item in agent.named_variables()}


def trained_variables(agent: TFAgent) -> list[np.ndarray]:
    """Actor's kernel and bias, critic's kernel and bias."""
    found = [item.variable for item in agent.named_variables() if item.variable.trainable]
    by_shape = {tuple(variable.shape): variable.numpy() for variable in found}
    return [by_shape[shape] for shape in ((3, 3), (3,), (3, 1), (1,))]


def gradients_of(agent: TFAgent) -> list[np.ndarray]:
    """The gradients of the only step that was taken, from Adam's first moments, which are a tenth of them."""
    return [value * 10.0 for path, value in values(agent).items() if "first_moments" in path]


def test_loss_and_gradient_are_those_of_numpy() -> None:
    agent, batch, known = (
        make(DISCRETE, beta=0.7, value_loss_weight=0.3, max_weight=1.9),
        transitions(DISCRETE),
        arguments(),
    )
    weights = np.array([1, 1, 0, 1, 2, 1], np.float32)
    kernel, bias, value_kernel, value_bias = trained_variables(agent)
    x, labels = batch.time_step.observation, batch.action_step.action - 2
    p = softmax(x @ kernel + bias)
    final = (known["final_observation"] @ value_kernel + value_bias)[:, 0]
    advantage = known["return_to_go"] + known["final_discount"] * final - (x @ value_kernel + value_bias)[:, 0]
    count = np.count_nonzero(weights)
    scale = np.sqrt(np.sum(weights * advantage**2) / count)
    factor = np.minimum(np.exp(0.7 * advantage / scale), 1.9)
    assert (factor == 1.9).any()
    assert (factor < 1.9).any()
    policy_loss = -np.sum(weights * factor * np.log(p[np.arange(B), labels])) / count
    value_loss = 0.5 * np.sum(weights * advantage**2) / count

    info = agent.train(batch, weights, **known)
    np.testing.assert_allclose(info.extra["policy_loss"], policy_loss, rtol=1e-4)
    np.testing.assert_allclose(info.extra["value_loss"], value_loss, rtol=1e-4)
    np.testing.assert_allclose(info.extra["advantage_scale"], scale, rtol=1e-4)
    np.testing.assert_allclose(info.loss, policy_loss + 0.3 * value_loss, rtol=1e-4)
    by_logits = (p - np.eye(3)[labels]) * (weights * factor)[:, np.newaxis] / count
    by_value = (-0.3 * advantage * weights / count)[:, np.newaxis]
    parts = {(3, 3): x.T @ by_logits, (3,): by_logits.sum(0), (3, 1): x.T @ by_value, (1,): by_value.sum(0)}
    order = agent._trained  # type: ignore[attr-defined]
    for variable, gradient in zip(order, gradients_of(agent), strict=True):
        np.testing.assert_allclose(gradient, parts[tuple(variable.shape)], rtol=1e-3, atol=1e-5)


def test_advantages_are_scaled_by_a_running_mean() -> None:
    agent = make(DISCRETE, advantage_scale_rate=0.25, learning_rate=1e-12)
    squares = []
    for seed in range(3):
        batch, known = transitions(DISCRETE, seed), arguments(seed)
        _, _, kernel, bias = trained_variables(agent)
        value, final = ((x @ kernel + bias)[:, 0] for x in (batch.time_step.observation, known["final_observation"]))
        squares.append(np.mean((known["return_to_go"] + known["final_discount"] * final - value) ** 2))
        scale = agent.train(batch, **known).extra["advantage_scale"]
    first = squares[0] + 0.25 * (squares[1] - squares[0])
    np.testing.assert_allclose(scale, np.sqrt(first + 0.25 * (squares[2] - first)), rtol=1e-4)


def test_with_beta_0_it_is_behavioural_cloning() -> None:
    networks = NetworkConfig(actor_units=(8,))
    marwil = make(NESTED, networks, beta=0.0, learning_rate=1e-2)
    cloning = BehavioralCloningConfig(learning_rate=1e-2, **UNCLIPPED).make_agent(
        specs_of(NESTED), networks, LearnerOptions(seed=1, jit_compile=False)
    )
    for seed in range(3):
        batch = transitions(NESTED, seed)
        infos = marwil.train(batch, **arguments(seed)), cloning.train(batch)
        np.testing.assert_allclose(infos[0].loss, infos[1].loss, rtol=1e-5)
    pairs = zip(marwil.collect_policy.variables(), cloning.collect_policy.variables(), strict=True)
    for left, right in pairs:
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ACTIONS)
def test_actions_with_the_higher_return_become_the_likelier_ones(kind: str) -> None:
    agent = make(ACTIONS[kind], NetworkConfig(actor_units=(16,)), learning_rate=1e-2, value_units=(16,))
    batches = [transitions(ACTIONS[kind], seed) for seed in range(2)]
    # Two actions for each observation: those of the first half pay.
    step = batches[0].time_step
    action = tf.nest.map_structure(
        lambda *leaves: np.concatenate(leaves), *[batch.action_step.action for batch in batches]
    )
    both = tf.nest.map_structure(lambda leaf: np.concatenate([leaf, leaf]), batches[0])
    both = both.replace(action_step=both.action_step._replace(action=action))
    known = {
        "return_to_go": np.repeat([1.0, -1.0], B).astype(np.float32),
        "final_discount": np.zeros(2 * B, np.float32),
        "final_observation": both.time_step.observation,
    }
    for _ in range(200):
        agent.train(both, **known)
    chosen = agent.collect_policy.distribution(TimeStep(*step)).action
    likelihoods = [
        sum(
            np.asarray(part.log_prob(taken)).reshape(B, -1).sum(axis=1)
            for part, taken in zip(tf.nest.flatten(chosen), tf.nest.flatten(batch.action_step.action), strict=True)
        )
        for batch in batches
    ]
    differs = [
        not np.array_equal(one, two) for one, two in zip(*(map(repr, _rows(batch)) for batch in batches), strict=True)
    ]
    assert np.all((likelihoods[0] > likelihoods[1])[differs])


def _rows(batch: Any) -> list[Any]:
    leaves = [leaf.reshape(B, -1) for leaf in tf.nest.flatten(batch.action_step.action)]
    return [tuple(leaf[row].tolist() for leaf in leaves) for row in range(B)]


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"marwil\.beta must be 0 or more"):
        MarwilConfig(beta=-1.0)
