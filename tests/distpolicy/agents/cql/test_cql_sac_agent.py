"""CQL's loss and gradient of a batch of actions of floats against NumPy, after Kumar et al. (2020)."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from offline_batches import CONTINUOUS, DISCRETE, NESTED, OBSERVATION, B, specs_of, transitions

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.cql.config import CQLConfig
from distpolicy.agents.cql.cql_dqn_agent import CqlDqnAgent
from distpolicy.agents.cql.cql_sac_agent import CqlSacAgent
from distpolicy.agents.ddpg.critic_network import CriticNetwork
from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import time_step_spec

GAMMA, CQL_ALPHA, SAMPLES, TEMPERATURE = 0.9, 0.7, 3, 0.5
BOX = BoundedArraySpec((2,), np.float32, [-1.0, -2.0], [1.0, 4.0])


def make(action_spec: Any = BOX, **arguments: Any) -> tuple[CqlSacAgent, dict[str, Any]]:
    """An agent of linear networks that steps by its gradients alone, and its networks."""
    pair = (OBSERVATION, action_spec)
    networks = {
        "first": CriticNetwork(pair, seed=1),
        "second": CriticNetwork(pair, seed=2),
        "actor": ActorDistributionNetwork(
            OBSERVATION,
            action_spec,
            fc_layer_params=(),
            continuous_projection_net=lambda spec, seed: TanhNormalProjectionNetwork(
                spec, std_transform=tf.exp, seed=seed
            ),
            seed=3,
        ),
    }
    given = {
        "cql_alpha": CQL_ALPHA,
        "num_cql_samples": SAMPLES,
        "include_critic_entropy_term": False,
        "use_lagrange_cql_alpha": False,
        "softmax_temperature": TEMPERATURE,
        "gamma": GAMMA,
        **arguments,
    }
    agent = CqlSacAgent(
        time_step_spec(OBSERVATION),
        action_spec,
        networks["first"],
        networks["actor"],
        keras.optimizers.SGD(0.0),
        keras.optimizers.SGD(1.0),
        None,
        critic_network_2=networks["second"],
        **given,
    )
    agent.initialize()
    return agent, networks


def logsumexp(values: np.ndarray) -> np.ndarray:
    highest = values.max(axis=1)
    return highest + np.log(np.exp(values - highest[:, np.newaxis]).sum(axis=1))


def read(network: Any) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = sorted((variable.numpy() for variable in network.trainable_variables), key=lambda item: -item.ndim)
    return kernel, bias


def draw(x: np.ndarray, actor: tuple[np.ndarray, np.ndarray], noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Actions of a tanh-normal policy and their log-densities."""
    center, half = np.array([0.0, 1.0]), np.array([1.0, 3.0])
    mean, log_std = np.split(x @ actor[0] + actor[1], 2, axis=-1)
    raw = mean + np.exp(log_std) * noise
    density = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(half * (1 - np.tanh(raw) ** 2))
    return center + half * np.tanh(raw), density.sum(axis=-1)


def test_the_critics_loss_and_gradient_are_those_of_numpy() -> None:
    agent, networks = make()
    kernel, bias = read(networks["actor"])
    for variable in networks["actor"].trainable_variables:
        variable.assign(variable * 0.3)
    rng = np.random.default_rng(3)
    batch, weights = transitions(CONTINUOUS), np.array([1, 1, 1, 0, 2, 1], np.float32)
    noise = rng.normal(size=(B, *agent.noise_spec.shape)).astype(np.float32)
    assert noise.shape == (B, 2 + 2 * SAMPLES, 2)
    actor = read(networks["actor"])
    critics = {name: read(networks[name]) for name in ("first", "second")}
    x, after, action = batch.time_step.observation, batch.next_time_step, batch.action_step.action
    count = np.count_nonzero(weights)

    def value(name: str, observation: np.ndarray, actions: np.ndarray) -> np.ndarray:
        joined = np.concatenate([observation, actions], axis=-1)
        return (joined @ critics[name][0] + critics[name][1])[..., 0]

    following, _ = draw(after.observation, actor, noise[:, 0])
    target = after.reward + GAMMA * after.discount * np.minimum(
        *(value(name, after.observation, following) for name in critics)
    )
    repeated = np.repeat(x[:, np.newaxis], SAMPLES, axis=1)
    drawn, log_probs = draw(repeated, actor, noise[:, 2 : 2 + SAMPLES])
    uniform = np.array([-1.0, -2.0]) + 0.5 * (
        1 + np.vectorize(math.erf)(noise[:, 2 + SAMPLES :] / np.sqrt(2))
    ) * np.array([2.0, 6.0])
    critic_loss, cql_loss, gradients = 0.0, 0.0, {}
    for name in critics:
        exponents = np.concatenate(
            [
                TEMPERATURE * value(name, repeated, drawn) - log_probs,
                TEMPERATURE * value(name, repeated, uniform) + np.log(12.0),
            ],
            axis=1,
        )
        highest = logsumexp(exponents)
        error = target - value(name, x, action)
        critic_loss += np.sum(weights * error**2) / count * 0.5
        gap = highest / TEMPERATURE - value(name, x, action)
        cql_loss += np.sum(weights * gap) / count / 2
        share = np.exp(exponents - highest[:, np.newaxis])
        all_actions = np.concatenate([drawn, uniform], axis=1)
        inputs = np.concatenate([np.repeat(x[:, np.newaxis], 2 * SAMPLES, axis=1), all_actions], axis=-1)
        taken = np.concatenate([x, action], axis=1)
        by_row = -error[:, np.newaxis] * taken + CQL_ALPHA / 2 * (
            np.sum(share[..., np.newaxis] * inputs, axis=1) - taken
        )
        gradients[name] = np.sum(weights[:, np.newaxis] * by_row, axis=0) / count

    info = agent.train(batch, weights, noise=noise)
    np.testing.assert_allclose(info.extra["cql_loss"], cql_loss, rtol=1e-4)
    np.testing.assert_allclose(info.extra["critic_loss"], critic_loss + CQL_ALPHA * cql_loss, rtol=1e-4)
    for name, expected in gradients.items():
        np.testing.assert_allclose(
            (critics[name][0] - read(networks[name])[0])[:, 0], expected, rtol=1e-3, atol=1e-5, err_msg=name
        )
    assert kernel.shape == actor[0].shape
    assert bias.shape == actor[1].shape


def test_the_weight_is_learned_towards_the_threshold() -> None:
    for tau, grows in ((-100.0, True), (100.0, False)):
        agent, _ = make(use_lagrange_cql_alpha=True, cql_tau=tau, cql_alpha_learning_rate=0.1)
        before = float(agent.cql_alpha)
        agent.train(transitions(CONTINUOUS))
        assert (float(agent.cql_alpha) > before) == grows
    clipped, _ = make(use_lagrange_cql_alpha=True, log_cql_alpha_clipping=(-5.0, -1.0))
    np.testing.assert_allclose(clipped.cql_alpha, np.exp(-1.0), rtol=1e-6)
    given, _ = make(log_cql_alpha_clipping=(-5.0, -1.0))
    np.testing.assert_allclose(given.cql_alpha, CQL_ALPHA, rtol=1e-6)
    with pytest.raises(ConfigError, match="cql_alpha must be above 0 with use_lagrange_cql_alpha"):
        make(use_lagrange_cql_alpha=True, cql_alpha=0.0)


def test_actions_beyond_the_bounds_count_as_those_at_the_bounds() -> None:
    batch, noise = transitions(CONTINUOUS), np.random.default_rng(1).normal(size=(B, 2 + 2 * SAMPLES, 2))
    # The bounds are those of BOX.
    actions = np.array([[3.0, -7.0], [0.5, 9.0], [-1.5, 1.0], [1.0, 4.0], [2.0, -2.0], [0.0, 0.0]], np.float32)
    infos = []
    for action in (actions, np.clip(actions, [-1.0, -2.0], [1.0, 4.0]).astype(np.float32)):
        agent, _ = make(num_bc_steps=1)
        clipped = batch.replace(action_step=batch.action_step._replace(action=action))
        infos.append(agent.train(clipped, noise=noise.astype(np.float32)).extra)
    for name in ("critic_loss", "cql_loss", "q_mean", "actor_loss"):
        np.testing.assert_allclose(infos[0][name], infos[1][name], rtol=1e-6, err_msg=name)


def test_the_actor_imitates_the_data_at_first() -> None:
    batch, losses = transitions(CONTINUOUS), []
    for num_bc_steps in (0, 1):
        agent, networks = make(num_bc_steps=num_bc_steps, initial_log_alpha=-20.0)
        distribution, _ = networks["actor"](batch.time_step.observation)
        likelihood = distribution.log_prob(batch.action_step.action)
        infos = [agent.train(batch, noise=np.zeros((B, 2 + 2 * SAMPLES, 2), np.float32)) for _ in range(2)]
        losses.append([float(info.extra["actor_loss"]) for info in infos])
    np.testing.assert_allclose(losses[1][0], -np.mean(likelihood), rtol=1e-4)
    assert losses[1][0] != losses[0][0]
    np.testing.assert_allclose(losses[1][1], losses[0][1], rtol=1e-5)


def test_the_loss_is_that_of_the_next_step_also_where_imitation_ends() -> None:
    batch, noise = transitions(CONTINUOUS), np.zeros((B, 2 + 2 * SAMPLES, 2), np.float32)
    # The critics, which learn before the actor, stay as they are.
    agent, _ = make(num_bc_steps=1, critic_loss_weight=0.0, cql_alpha=0.0)
    for _ in range(2):
        told = float(agent.loss(batch, noise=noise).extra["actor_loss"])
        np.testing.assert_allclose(agent.train(batch, noise=noise).extra["actor_loss"], told, rtol=1e-5)


def test_the_settings_choose_the_agent_by_the_actions() -> None:
    def built(action_spec: Any, **settings: Any) -> Any:
        return CQLConfig(**settings).make_agent(
            specs_of(action_spec), NetworkConfig(), LearnerOptions(jit_compile=False)
        )

    assert isinstance(built(DISCRETE), CqlDqnAgent)
    agent = built(CONTINUOUS, num_cql_samples=2)
    assert isinstance(agent, CqlSacAgent)
    agent.initialize()
    known = set(CQLConfig.metrics)
    assert {"cql_loss", "cql_alpha", "q_mean", "actor_loss"} <= known & set(agent.train(transitions(CONTINUOUS)).extra)
    with pytest.raises(SpecMismatchError, match="cql, with a discrete action, has one scalar integer action"):
        built(NESTED)
    unbounded = BoundedArraySpec((2,), np.float32, -np.inf, np.inf)
    with pytest.raises(ConfigError, match="finite bounds"):
        built(unbounded)


def test_steps_of_one_call_are_those_of_single_calls() -> None:
    batches = [transitions(CONTINUOUS, seed) for seed in range(2)]
    noise = np.random.default_rng(0).normal(size=(2, B, 2 + 2 * SAMPLES, 2)).astype(np.float32)
    agents = [make()[0] for _ in range(2)]
    for batch, drawn in zip(batches, noise, strict=True):
        agents[0].train(batch, noise=drawn)
    stacked = tf.nest.map_structure(lambda *leaves: np.stack(leaves), *batches)
    agents[1].train_steps(stacked, np.ones((2, B), np.float32), noise=noise)
    for left, right in zip(agents[0].named_variables(), agents[1].named_variables(), strict=True):
        np.testing.assert_allclose(left.variable, right.variable, rtol=1e-4, atol=1e-5, err_msg=left.path)
