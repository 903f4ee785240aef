"""IQL's losses and gradients of a batch against NumPy, after Kostrikov et al. (2021)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from offline_batches import ACTIONS, CONTINUOUS, DISCRETE, OBSERVATION, B, softmax, specs_of, transitions

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.iql.config import IqlConfig
from distpolicy.agents.iql.iql_agent import IqlAgent, expectile_loss
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.observation_encoding import preprocessing_for
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.trajectories.time_step import time_step_spec

GAMMA, TAU, BETA, MAX_WEIGHT, POLYAK, SCALE = 0.9, 0.8, 2.0, 1.5, 0.25, 0.5


def linear_value(spec: Any, seed: int) -> ValueNetwork:
    layers, combiner = preprocessing_for(spec, seed=seed)
    return ValueNetwork(spec, layers, combiner, fc_layer_params=(), seed=seed)


def linear_agent() -> tuple[IqlAgent, dict[str, Any]]:
    """An agent of linear networks that steps by its gradients alone, and its networks."""
    from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork

    pair = (OBSERVATION, DISCRETE)
    networks = {
        "first": linear_value(pair, 1),
        "second": linear_value(pair, 2),
        "value": linear_value(OBSERVATION, 3),
        "actor": ActorDistributionNetwork(OBSERVATION, DISCRETE, fc_layer_params=(), seed=4),
    }
    agent = IqlAgent(
        time_step_spec(OBSERVATION),
        DISCRETE,
        networks["first"],
        networks["value"],
        networks["actor"],
        *(keras.optimizers.SGD(1.0) for _ in range(3)),
        critic_network_2=networks["second"],
        expectile=TAU,
        beta=BETA,
        max_weight=MAX_WEIGHT,
        target_update_tau=POLYAK,
        gamma=GAMMA,
        reward_scale_factor=SCALE,
    )
    agent.initialize()
    return agent, networks


def read(network: Any) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias."""
    kernel, bias = sorted((variable.numpy() for variable in network.trainable_variables), key=lambda item: -item.ndim)
    return kernel, bias


def test_losses_and_gradients_are_those_of_numpy() -> None:
    agent, networks = linear_agent()
    # Targets that differ from their critics.
    agent.train(transitions(DISCRETE, 7))
    targets = [read(network) for network in agent._critics._targets]
    before = {name: read(network) for name, network in networks.items()}
    batch, weights = transitions(DISCRETE), np.array([1, 1, 1, 0, 2, 1], np.float32)
    x, after, labels = batch.time_step.observation, batch.next_time_step, batch.action_step.action - 2
    pair = np.concatenate([x, np.eye(3)[labels]], axis=1)
    count = np.count_nonzero(weights)

    def linear(inputs: np.ndarray, parameters: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return (inputs @ parameters[0] + parameters[1])[:, 0]

    advantage = np.min([linear(pair, target) for target in targets], axis=0) - linear(x, before["value"])
    share = np.abs(TAU - (advantage < 0))
    target = SCALE * after.reward + GAMMA * after.discount * linear(after.observation, before["value"])
    errors = {name: target - linear(pair, before[name]) for name in ("first", "second")}
    factor = np.minimum(np.exp(BETA * advantage), MAX_WEIGHT)
    p = softmax(x @ before["actor"][0] + before["actor"][1])

    info = agent.train(batch, weights)
    expected = {
        "value_loss": np.sum(weights * share * advantage**2) / count,
        "critic_loss": sum(np.sum(weights * error**2) for error in errors.values()) / count,
        "actor_loss": -np.sum(weights * factor * np.log(p[np.arange(B), labels])) / count,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(info.extra[name], value, rtol=1e-4, err_msg=name)
    gradients = {
        "value": (x, -2 * share * advantage),
        "first": (pair, -2 * errors["first"]),
        "second": (pair, -2 * errors["second"]),
        "actor": (x, (p - np.eye(3)[labels]) * factor[:, np.newaxis]),
    }
    for name, (inputs, each) in gradients.items():
        each = each.reshape(B, -1) * weights[:, np.newaxis] / count
        kernel, bias = read(networks[name])
        np.testing.assert_allclose(before[name][0] - kernel, inputs.T @ each, rtol=1e-3, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(before[name][1] - bias, each.sum(axis=0), rtol=1e-3, atol=1e-5, err_msg=name)
    for network, old, name in zip(agent._critics._targets, targets, ("first", "second"), strict=True):
        new = old[0] + POLYAK * (read(networks[name])[0] - old[0])
        np.testing.assert_allclose(read(network)[0], new, rtol=1e-4, atol=1e-6)


@given(st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=20), st.floats(0.01, 0.99))
def test_the_expectile_loss_is_least_at_the_expectile(values: list[float], expectile: float) -> None:
    samples = np.asarray(values, np.float64)
    guess = samples.mean()
    for _ in range(200):  # Newey and Powell, 1987: the weighted mean that weighs by the side of itself.
        share = np.where(samples < guess, 1 - expectile, expectile)
        guess = np.sum(share * samples) / share.sum()

    def loss(value: float) -> float:
        return float(tf.reduce_sum(expectile_loss(tf.constant(samples - value), expectile)))

    assert loss(guess) <= min(loss(guess + 0.1), loss(guess - 0.1)) + 1e-6


def make(action_spec: Any, **settings: Any) -> TFAgent:
    config = IqlConfig(**{"critic_units": (16,), "learning_rate": 3e-3, **settings})
    networks = NetworkConfig(actor_units=(16,), activation="relu")
    agent = config.make_agent(specs_of(action_spec), networks, LearnerOptions(jit_compile=False))
    agent.initialize()
    return agent


@pytest.mark.parametrize("kind", ACTIONS)
def test_it_learns_from_any_nest_of_actions(kind: str) -> None:
    agent, batch = make(ACTIONS[kind]), transitions(ACTIONS[kind])
    losses = [float(agent.train(batch).extra["critic_loss"]) for _ in range(150)]
    assert losses[-1] < 0.2 * losses[0]
    assert agent.tracing_count == 1


def test_steps_of_one_call_are_those_of_single_calls() -> None:
    batches = [transitions(CONTINUOUS, seed) for seed in range(3)]
    one, many = make(CONTINUOUS), make(CONTINUOUS)
    for batch in batches:
        one.train(batch)
    stacked = tf.nest.map_structure(lambda *leaves: np.stack(leaves), *batches)
    many.train_steps(stacked, np.ones((3, B), np.float32))
    for left, right in zip(one.named_variables(), many.named_variables(), strict=True):
        np.testing.assert_allclose(left.variable, right.variable, rtol=1e-4, atol=1e-5, err_msg=left.path)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"iql\.expectile must be in \[0, 1\]"):
        IqlConfig(expectile=1.5)
