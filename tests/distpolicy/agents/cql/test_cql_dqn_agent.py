"""CQL's loss and gradient of a batch of discrete actions against NumPy, after Kumar et al. (2020)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from offline_batches import DISCRETE, OBSERVATION, B, softmax, transitions

from distpolicy.agents.cql.cql_dqn_agent import CqlDqnAgent
from distpolicy.networks.q_network import QNetwork
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.time_step import time_step_spec

GAMMA, ALPHA = 0.9, 0.7


def make(observation: Any = OBSERVATION, **arguments: Any) -> tuple[CqlDqnAgent, QNetwork]:
    network = QNetwork(OBSERVATION, DISCRETE, fc_layer_params=(), seed=1)
    agent = CqlDqnAgent(
        time_step_spec(observation),
        DISCRETE,
        network,
        keras.optimizers.SGD(1.0),
        gamma=GAMMA,
        jit_compile=False,
        **arguments,
    )
    agent.initialize()
    return agent, network


def read(network: QNetwork) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = sorted((variable.numpy() for variable in network.variables), key=lambda item: -item.ndim)
    return kernel, bias


def test_loss_and_gradient_are_those_of_numpy() -> None:
    agent, network = make(cql_alpha=ALPHA, target_update_tau=0.5)
    # A target that differs from the network.
    agent.train(transitions(DISCRETE, 7))
    kernel, bias = read(network)
    target_kernel, target_bias = read(agent._target_q_network)
    batch, weights = transitions(DISCRETE), np.array([1, 1, 1, 0, 2, 1], np.float32)
    x, after, labels = batch.time_step.observation, batch.next_time_step, batch.action_step.action - 2
    rows, count = np.arange(B), np.count_nonzero(weights)
    q = x @ kernel + bias
    chosen = np.argmax(after.observation @ kernel + bias, axis=1)
    following = (after.observation @ target_kernel + target_bias)[rows, chosen]
    error = after.reward + GAMMA * after.discount * following - q[rows, labels]
    huber = np.where(np.abs(error) < 1, 0.5 * error**2, np.abs(error) - 0.5)
    gap = np.log(np.exp(q).sum(axis=1)) - q[rows, labels]

    info = agent.train(batch, weights)
    np.testing.assert_allclose(info.loss, np.sum(weights * (huber + ALPHA * gap)) / count, rtol=1e-4)
    np.testing.assert_allclose(info.extra["cql_loss"], np.sum((weights > 0) * gap) / count, rtol=1e-4)
    taken = np.eye(3)[labels]
    by_q = -np.clip(error, -1, 1)[:, np.newaxis] * taken + ALPHA * (softmax(q) - taken)
    by_q *= weights[:, np.newaxis] / count
    new_kernel, new_bias = read(network)
    np.testing.assert_allclose(kernel - new_kernel, x.T @ by_q, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(bias - new_bias, by_q.sum(axis=0), rtol=1e-3, atol=1e-5)


def test_actions_that_a_mask_forbids_are_not_kept_low() -> None:
    masked = {"seen": OBSERVATION, "mask": ArraySpec((3,), np.int32)}
    agent, network = make(
        masked, observation_and_action_constraint_splitter=lambda seen: (seen["seen"], seen["mask"]), cql_alpha=5.0
    )
    plain = transitions(DISCRETE)
    mask = np.tile(np.array([1, 0, 1], np.int32), (B, 1))
    batch = plain.replace(
        time_step=plain.time_step._replace(observation={"seen": plain.time_step.observation, "mask": mask}),
        action_step=plain.action_step._replace(action=np.full(B, 2)),
        next_time_step=plain.next_time_step._replace(
            observation={"seen": plain.next_time_step.observation, "mask": mask}
        ),
    )
    kernel, _ = read(network)
    agent.train(batch)
    changed = np.any(read(network)[0] != kernel, axis=0)
    np.testing.assert_array_equal(changed, [True, False, True])


def test_other_actions_than_the_datas_are_valued_low() -> None:
    plain, conservative = make(cql_alpha=0.0), make(cql_alpha=5.0)
    batch = transitions(DISCRETE)
    chosen = batch.action_step.action - 2
    shares = []
    for agent, network in (plain, conservative):
        for _ in range(50):
            agent.train(batch)
        q = network(batch.time_step.observation)[0].numpy()
        shares.append(np.mean(np.argmax(q, axis=1) == chosen))
    assert shares[1] > shares[0]
