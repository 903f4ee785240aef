"""Losses and gradients of a batch against NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from offline_batches import CONTINUOUS, DISCRETE, NESTED, OBSERVATION, B, softmax, specs_of, transitions

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.behavioral_cloning.behavioral_cloning_agent import BehavioralCloningAgent
from distpolicy.agents.behavioral_cloning.config import BehavioralCloningConfig
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.q_network import QNetwork
from distpolicy.networks.sequential import Sequential
from distpolicy.trajectories.time_step import TimeStep, time_step_spec
from distpolicy.trajectories.trajectory import Trajectory


def linear_agent(num_outputs: int, action_spec: Any, **arguments: Any) -> tuple[BehavioralCloningAgent, Any]:
    """An agent with one dense layer, which steps by its gradient alone."""
    layer = keras.layers.Dense(num_outputs, kernel_initializer="glorot_uniform")
    network = Sequential([layer], OBSERVATION)
    agent = BehavioralCloningAgent(
        time_step_spec(OBSERVATION), action_spec, network, keras.optimizers.SGD(1.0), **arguments
    )
    agent.initialize()
    return agent, layer


def test_cross_entropy_and_its_gradient_are_those_of_numpy() -> None:
    agent, layer = linear_agent(3, DISCRETE)
    kernel, bias = (variable.numpy() for variable in layer.variables)
    batch, weights = transitions(DISCRETE), np.array([1, 1, 0, 2, 1, 1], np.float32)
    x, labels = batch.time_step.observation, batch.action_step.action - 2
    logits = x @ kernel + bias
    p = softmax(logits)
    info = agent.train(batch, weights)
    np.testing.assert_allclose(info.loss, np.mean(-weights * np.log(p[np.arange(B), labels])), rtol=1e-5)
    gradient = (p - np.eye(3)[labels]) * weights[:, np.newaxis] / B
    np.testing.assert_allclose(kernel - layer.kernel.numpy(), x.T @ gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bias - layer.bias.numpy(), gradient.sum(axis=0), rtol=1e-4, atol=1e-6)
    norm = np.sqrt(np.sum((x.T @ gradient) ** 2) + np.sum(gradient.sum(axis=0) ** 2))
    np.testing.assert_allclose(info.extra["gradient_norm"], norm, rtol=1e-5)


def test_squared_difference_and_its_gradient_are_those_of_numpy() -> None:
    agent, layer = linear_agent(2, CONTINUOUS)
    kernel = layer.kernel.numpy()
    batch = transitions(CONTINUOUS)
    x, error = batch.time_step.observation, batch.time_step.observation @ kernel - batch.action_step.action
    info = agent.train(batch)
    np.testing.assert_allclose(info.loss, np.mean(error**2), rtol=1e-5)
    np.testing.assert_allclose(kernel - layer.kernel.numpy(), x.T @ (2 * error) / error.size, rtol=1e-4, atol=1e-6)


def test_gradients_are_clipped_variable_by_variable() -> None:
    agent, layer = linear_agent(2, CONTINUOUS, gradient_clipping=0.01)
    kernel = layer.kernel.numpy()
    agent.train(transitions(CONTINUOUS))
    np.testing.assert_allclose(np.linalg.norm(kernel - layer.kernel.numpy()), 0.01, rtol=1e-4)


def test_a_loss_function_of_the_callers_is_used() -> None:
    made: list[BehavioralCloningAgent] = []

    def absolute(experience: Any, training: bool) -> tf.Tensor:
        output, _ = made[0].cloning_network(experience.time_step.observation, training=training)
        return tf.reduce_sum(tf.abs(output - experience.action_step.action), axis=-1)

    agent, _ = linear_agent(2, CONTINUOUS, loss_fn=absolute)
    made.append(agent)
    kernel = agent.collect_policy.variables()[0].numpy()
    batch = transitions(CONTINUOUS)
    error = batch.time_step.observation @ kernel - batch.action_step.action
    np.testing.assert_allclose(agent.train(batch).loss, np.mean(np.abs(error).sum(axis=1)), rtol=1e-5)


def make(action_spec: Any = NESTED, observation: Any = OBSERVATION, **settings: Any) -> BehavioralCloningAgent:
    config = BehavioralCloningConfig(**settings)
    agent = config.make_agent(
        specs_of(action_spec, observation), NetworkConfig(actor_units=(8,)), LearnerOptions(jit_compile=False)
    )
    agent.initialize()
    return agent


def test_the_likelihood_of_a_nest_of_actions_is_learned() -> None:
    agent, batch = make(learning_rate=1e-2), transitions(NESTED)
    step = TimeStep(*batch.time_step)
    before = agent.collect_policy.distribution(step).action
    action = batch.action_step.action
    likelihood = before["jump"].log_prob(action["jump"]) + before["move"].log_prob(action["move"])
    first = agent.train(batch)
    np.testing.assert_allclose(first.loss, -np.mean(likelihood), rtol=1e-5)
    for _ in range(300):
        last = agent.train(batch)
    assert last.loss < first.loss - 1.0
    np.testing.assert_array_equal(agent.policy.action(step).action["jump"], action["jump"])
    np.testing.assert_allclose(agent.policy.action(step).action["move"], action["move"], atol=0.2)


def test_steps_of_one_call_are_those_of_single_calls() -> None:
    batches = [transitions(NESTED, seed) for seed in range(3)]
    one, many = make(), make()
    for batch in batches:
        one.train(batch)
    stacked = tf.nest.map_structure(lambda *leaves: np.stack(leaves), *batches)
    many.train_steps(stacked, np.ones((3, B), np.float32))
    for left, right in zip(one.named_variables(), many.named_variables(), strict=True):
        np.testing.assert_allclose(left.variable, right.variable, rtol=1e-5, atol=1e-6, err_msg=left.path)


def test_logits_act_epsilon_greedily_as_in_tf_agents() -> None:
    network = QNetwork(OBSERVATION, DISCRETE, fc_layer_params=(4,))
    agent = BehavioralCloningAgent(
        time_step_spec(OBSERVATION), DISCRETE, network, keras.optimizers.Adam(), epsilon_greedy=1.0
    )
    observation = np.zeros((200, 3), np.float32)
    step = TimeStep(np.zeros(200, np.int32), np.zeros(200, np.float32), np.ones(200, np.float32), observation)
    assert len(np.unique(agent.policy.action(step).action)) == 1
    assert set(np.unique(agent.collect_policy.action(step, seed=1).action)) == {2, 3, 4}


def test_a_trajectory_is_learned_from_step_by_step_and_boundaries_count_nothing() -> None:
    agent, layer = linear_agent(3, DISCRETE, num_outer_dims=2)
    rng = np.random.default_rng(0)
    step_type = np.array([[0, 1, 2], [0, 1, 1]], np.int32)
    steps = Trajectory(
        step_type,
        rng.normal(size=(2, 3, 3)).astype(np.float32),
        rng.integers(2, 5, (2, 3)),
        (),
        np.array([[1, 2, 0], [1, 1, 1]], np.int32),
        np.zeros((2, 3), np.float32),
        np.ones((2, 3), np.float32),
    )
    logits = steps.observation @ layer.kernel.numpy()
    likelihood = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    losses = -np.take_along_axis(likelihood, steps.action[..., np.newaxis] - 2, axis=-1)[..., 0]
    losses[0, 2] = 0.0
    np.testing.assert_allclose(agent.train(steps).loss, losses.mean(), rtol=1e-5)


def test_what_offline_agents_cannot_do_is_refused() -> None:
    from launch.config.train import TrainConfig

    with pytest.raises(ConfigError, match=r"bc\.learning_rate must be above 0"):
        BehavioralCloningConfig(learning_rate=0.0)
    bc = BehavioralCloningConfig()
    for changes, told in (
        ({"network": NetworkConfig(recurrent="lstm")}, "network.recurrent is not for bc"),
        ({"learners": 2}, "learners above 1 is not for bc"),
    ):
        with pytest.raises(ConfigError, match=told):
            TrainConfig(agent=bc, **changes)  # type: ignore[arg-type]
