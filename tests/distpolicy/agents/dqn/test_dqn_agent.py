"""Losses, gradients and target updates of DQN against NumPy, from the papers' equations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from random_transitions import random_transitions

from distpolicy.agents.dqn.dqn_agent import DdqnAgent, DqnAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.noisy_q_network import NoisyQNetwork
from distpolicy.networks.q_network import QNetwork
from distpolicy.networks.q_rnn_network import QRnnNetwork
from distpolicy.networks.sequential import Sequential
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import StepType, time_step_spec
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition

OBSERVATION = ArraySpec((3,), np.float32)
ACTION = BoundedArraySpec((), np.int64, 1, 4)
BATCH, RATE, GAMMA, SCALE = 7, 0.1, 0.9, 0.5


def linear(seed: int = 1) -> QNetwork:
    """Returns values that are linear in the observation."""
    return QNetwork(OBSERVATION, ACTION, fc_layer_params=(), seed=seed)


def make(kind: type[DqnAgent], network: Any = None, **arguments: Any) -> DqnAgent:
    chosen = {
        "target_q_network": linear(2),
        "gamma": GAMMA,
        "reward_scale_factor": SCALE,
        "target_update_period": 100,
        "jit_compile": False,
        **arguments,
    }
    return kind(time_step_spec(OBSERVATION), ACTION, network or linear(), keras.optimizers.SGD(RATE), **chosen)


def batch(seed: int = 0, outer: tuple[int, ...] = (BATCH,)) -> Transition:
    action = np.random.default_rng(seed + 100).integers(1, 5, size=outer)
    drawn = random_transitions(outer, action, seed=seed)
    return drawn._replace(next_time_step=drawn.next_time_step._replace(reward=3 * drawn.next_time_step.reward))


def weights_of(network: QNetwork) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = (variable.numpy().astype(np.float64) for variable in network.variables)
    return (kernel, bias) if kernel.ndim == 2 else (bias, kernel)


class Reference:
    """One step of gradient descent on linear values, with a gradient by hand."""

    def __init__(self, own: Any, target: Any, double: bool, mask: np.ndarray | None = None) -> None:
        self.own, self.target, self.double, self.mask = own, target, double, mask

    def __call__(self, data: Transition, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        (kernel, bias), (target_kernel, target_bias) = self.own, self.target
        before, after = data.time_step.observation, data.next_time_step.observation
        values = before @ kernel + bias
        target_values = after @ target_kernel + target_bias
        count = np.count_nonzero(weights)
        loss, kernel_step, bias_step = 0.0, np.zeros_like(kernel), np.zeros_like(bias)
        errors = np.zeros(len(before))
        for row in range(len(before)):
            action = data.action_step.action[row] - 1
            judged = after[row] @ kernel + bias if self.double else target_values[row]
            allowed = range(4) if self.mask is None else np.flatnonzero(self.mask[row])
            best = max(allowed, key=lambda index, judged=judged: judged[index])
            step = data.next_time_step
            goal = SCALE * step.reward[row] + GAMMA * step.discount[row] * target_values[row, best]
            error = errors[row] = goal - values[row, action]
            size = abs(error)
            loss += weights[row] * (0.5 * size**2 if size <= 1 else size - 0.5) / count
            slope = -weights[row] * np.clip(error, -1, 1) / count
            kernel_step[:, action] += slope * before[row]
            bias_step[action] += slope
        return loss, errors, kernel_step, bias_step


@pytest.mark.parametrize("kind", [DqnAgent, DdqnAgent])
def test_loss_and_gradient_are_the_papers(kind: type[DqnAgent]) -> None:
    target = linear(2)
    agent = make(kind, target_q_network=target)
    agent.initialize()
    # Far from the network's own weights, so that both pick different actions.
    other = linear(3)
    other.create_variables()
    for variable, value in zip(target.variables, other.variables, strict=True):
        variable.assign(5 * value)
    network = agent._q_network
    own = weights_of(network)
    data, weights = batch(), np.linspace(0.0, 1.5, BATCH, dtype=np.float32)
    loss, errors, kernel_step, bias_step = Reference(own, weights_of(target), kind is DdqnAgent)(data, weights)
    assert (np.abs(errors) > 1).any(), "the linear part of Huber's loss is not tested"
    assert (np.abs(errors) < 1).any()
    info = agent.train(data, weights)
    np.testing.assert_allclose(info.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(info.extra["priorities"], np.abs(errors), rtol=1e-4)
    kernel, bias = weights_of(network)
    np.testing.assert_allclose(kernel, own[0] - RATE * kernel_step, atol=1e-6)
    np.testing.assert_allclose(bias, own[1] - RATE * bias_step, atol=1e-6)
    norm = np.sqrt(np.sum(kernel_step**2) + np.sum(bias_step**2))
    np.testing.assert_allclose(info.extra["gradient_norm"], norm, rtol=1e-5)


def test_only_allowed_actions_are_bootstrapped_from() -> None:
    specs = {"values": OBSERVATION, "mask": BoundedArraySpec((4,), np.int32, 0, 1)}
    mask = np.array([[0, 1, 1, 0], [1, 0, 0, 0]] * BATCH, np.int32)[:BATCH]
    for kind in (DqnAgent, DdqnAgent):
        target, network = linear(2), linear()
        agent = kind(
            time_step_spec(specs),
            ACTION,
            network,
            keras.optimizers.SGD(RATE),
            observation_and_action_constraint_splitter=lambda observation: (observation["values"], observation["mask"]),
            target_q_network=target,
            gamma=GAMMA,
            reward_scale_factor=SCALE,
            jit_compile=False,
        )
        agent.initialize()
        data = batch()
        expected = Reference(weights_of(network), weights_of(target), kind is DdqnAgent, mask)(data, np.ones(BATCH))
        masked = data._replace(
            time_step=data.time_step._replace(observation={"values": data.time_step.observation, "mask": mask}),
            next_time_step=data.next_time_step._replace(
                observation={"values": data.next_time_step.observation, "mask": mask}
            ),
        )
        np.testing.assert_allclose(agent.train(masked).extra["priorities"], np.abs(expected[1]), rtol=1e-4)


def test_n_step_trajectories_are_summed_up() -> None:
    agent = make(DqnAgent, n_step_update=2)
    agent.initialize()
    draws = np.random.default_rng(0)
    outer = (BATCH, 3)
    types = np.full(outer, StepType.MID, np.int32)
    trajectory = Trajectory(
        types,
        draws.normal(size=(*outer, 3)).astype(np.float32),
        draws.integers(1, 5, size=outer),
        (),
        types,
        draws.normal(size=outer).astype(np.float32),
        np.ones(outer, np.float32),
    )
    (kernel, bias), target = weights_of(agent._q_network), weights_of(agent._target_q_network)
    reward = trajectory.reward[:, 0] + GAMMA * trajectory.reward[:, 1]
    best = (trajectory.observation[:, 2] @ target[0] + target[1]).max(axis=1)
    taken = (trajectory.observation[:, 0] @ kernel + bias)[np.arange(BATCH), trajectory.action[:, 0] - 1]
    expected = np.abs(SCALE * reward + GAMMA**2 * best - taken)
    np.testing.assert_allclose(agent.train(trajectory).extra["priorities"], expected, rtol=1e-4)


def test_target_network_follows_by_tau_every_period() -> None:
    agent = make(DqnAgent, target_update_tau=0.25, target_update_period=2)
    agent.initialize()
    own, target = agent._q_network, agent._target_q_network
    start = [value.numpy() for value in target.variables]
    for value, want in zip(own.variables, start, strict=True):
        np.testing.assert_array_equal(value, want)
    agent.train(batch(0))
    for value, want in zip(target.variables, start, strict=True):
        np.testing.assert_array_equal(value, want)
    agent.train(batch(1))
    for value, source, before in zip(target.variables, own.variables, start, strict=True):
        np.testing.assert_allclose(value, before + 0.25 * (source.numpy() - before), atol=1e-7)


class Counting(keras.layers.Layer):
    """Returns its input, and has a number of steps, as layers that normalise do."""

    def build(self, input_shape: Any) -> None:
        self.count = self.add_weight(name="count", shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs


def test_integers_are_copied_to_the_target_network() -> None:
    network = Sequential([Counting(), keras.layers.Dense(4)], OBSERVATION)
    network.create_variables()
    (count,) = (variable for variable in network.variables if variable.dtype == tf.int32)
    count.assign(3)
    agent = make(DqnAgent, network, target_q_network=None, target_update_tau=0.25, target_update_period=1)
    agent.initialize()
    count.assign(8)
    agent.train(batch())
    (copied,) = (variable for variable in agent._target_q_network.variables if variable.dtype == tf.int32)
    assert int(copied) == 8


def test_gradients_are_clipped_by_variable() -> None:
    agent = make(DqnAgent, gradient_clipping=1e-3)
    agent.initialize()
    before = [value.numpy() for value in agent._q_network.variables]
    agent.train(batch())
    for value, start in zip(agent._q_network.variables, before, strict=True):
        np.testing.assert_allclose(np.linalg.norm(value - start), RATE * 1e-3, rtol=1e-3)


def test_last_rows_teach_nothing() -> None:
    agent = make(DqnAgent)
    agent.initialize()
    before = [value.numpy() for value in agent._q_network.variables]
    data = batch()
    data.time_step.step_type[:] = StepType.LAST
    assert float(agent.train(data).loss) == 0.0
    for value, start in zip(agent._q_network.variables, before, strict=True):
        np.testing.assert_array_equal(value, start)


def test_a_way_to_explore_is_chosen_once() -> None:
    with pytest.raises(ConfigError, match="not both"):
        make(DqnAgent, boltzmann_temperature=1.0)
    make(DqnAgent, boltzmann_temperature=1.0, epsilon_greedy=None)


def test_networks_are_checked() -> None:
    shared = linear()
    shared.create_variables()
    with pytest.raises(ConfigError, match="shares variables"):
        make(DqnAgent, shared, target_q_network=shared)
    wide = QNetwork(OBSERVATION, ACTION, fc_layer_params=(5,))
    with pytest.raises(ConfigError, match="same variables"):
        make(DqnAgent, target_q_network=wide)
    with pytest.raises(NotImplementedError, match="R2d2Agent"):
        make(DqnAgent, QRnnNetwork(OBSERVATION, ACTION, lstm_size=(3,)), target_q_network=None, n_step_update=2)


@pytest.mark.parametrize("kind", [DqnAgent, DdqnAgent])
def test_noise_of_each_step_is_new_and_its_scale_is_learned(kind: type[DqnAgent]) -> None:
    network = NoisyQNetwork(OBSERVATION, ACTION, noisy_layer_params=(), seed=1)
    agent = make(kind, network, target_q_network=None, epsilon_greedy=0.0, noise_seed=7)
    agent.initialize()
    (layer,) = network.layers
    for _ in range(2):
        kernel, scale = layer.kernel.numpy(), layer.kernel_scale.numpy()
        start = [variable.numpy() for variable in network.variables]
        noise = [tf.random.stateless_normal([1, 7], [7 + use, int(agent.train_step_counter)]) for use in (0, 1, 2)]
        data = batch()
        value = network(data.time_step.observation, noise=noise[0])[0].numpy()
        judged, valued = (
            one(data.next_time_step.observation, noise=noise[use])[0].numpy()
            for one, use in ((network, 1), (agent._target_q_network, 2))
        )
        rows, step = np.arange(BATCH), data.next_time_step
        best = (judged if kind is DdqnAgent else valued).argmax(axis=1)
        expected = np.abs(
            SCALE * step.reward + GAMMA * step.discount * valued[rows, best] - value[rows, data.action_step.action - 1]
        )
        np.testing.assert_allclose(agent.train(data).extra["priorities"], expected, rtol=1e-4)
        into, out = np.split(np.asarray(tf.sign(noise[0]) * tf.sqrt(tf.abs(noise[0])))[0], [3])
        # The gradient of a scale is the mean's, times the noise.
        np.testing.assert_allclose(
            layer.kernel_scale.numpy() - scale, (layer.kernel.numpy() - kernel) * np.outer(into, out), atol=1e-6
        )
        assert any(not np.array_equal(one, two) for one, two in zip(network.variables, start, strict=True))
