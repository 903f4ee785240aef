"""Programs in the style of TF-Agents' examples of recurrent networks: DRQN, and SAC and TD3 with memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.ddpg import actor_rnn_network, critic_rnn_network
from distpolicy.agents.dqn import dqn_agent
from distpolicy.agents.sac import sac_agent, tanh_normal_projection_network
from distpolicy.agents.td3 import td3_agent
from distpolicy.drivers import dynamic_episode_driver, dynamic_step_driver
from distpolicy.environments import py_environment, suite_gym, tf_py_environment, wrappers
from distpolicy.eval import metric_utils
from distpolicy.metrics import tf_metrics
from distpolicy.networks import actor_distribution_rnn_network, q_rnn_network
from distpolicy.replay_buffers import tf_uniform_replay_buffer
from distpolicy.specs import array_spec
from distpolicy.trajectories import time_step as ts
from distpolicy.utils import common


class Reminder(py_environment.PyEnvironment):
    """Shows a side in the first step alone, and rewards the action that names it two steps later."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._draws = np.random.default_rng(seed)
        self._side, self._num_steps = 0, 0

    def action_spec(self) -> Any:
        return array_spec.BoundedArraySpec((), np.int32, 0, 1, name="side")

    def observation_spec(self) -> Any:
        return array_spec.BoundedArraySpec((2,), np.float32, -1, 1, name="hint")

    def _reset(self) -> ts.TimeStep:
        self._side, self._num_steps = int(self._draws.integers(2)), 0
        return ts.restart(np.array([2 * self._side - 1, 0], np.float32))

    def _step(self, action: Any) -> ts.TimeStep:
        if self.current_time_step().is_last():
            return self.reset()
        self._num_steps += 1
        observation = np.array([0, self._num_steps / 3], np.float32)
        if self._num_steps == 3:
            return ts.termination(observation, reward=1.0 if int(action) == self._side else -1.0)
        return ts.transition(observation, reward=0.0, discount=1.0)


@pytest.mark.slow
def test_drqn_remembers_what_it_saw() -> None:
    env = tf_py_environment.TFPyEnvironment(wrappers.TimeLimit(Reminder(), duration=10))
    evaluated = tf_py_environment.TFPyEnvironment(Reminder(seed=1))
    counter = tf.Variable(0, trainable=False, dtype=tf.int64)
    agent = dqn_agent.DqnAgent(
        env.time_step_spec(),
        env.action_spec(),
        q_network=q_rnn_network.QRnnNetwork(
            env.observation_spec(),
            env.action_spec(),
            input_fc_layer_params=(16,),
            lstm_size=(16,),
            output_fc_layer_params=None,
            seed=1,
        ),
        epsilon_greedy=0.5,
        target_update_period=10,
        optimizer=tf.keras.optimizers.Adam(1e-2),
        td_errors_loss_fn=common.element_wise_squared_loss,
        gamma=0.95,
        gradient_clipping=5.0,
        train_step_counter=counter,
    )
    agent.initialize()
    assert agent.train_sequence_length is None
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(
        agent.collect_data_spec, batch_size=env.batch_size, max_length=2000
    )
    driver = dynamic_episode_driver.DynamicEpisodeDriver(
        env, agent.collect_policy, observers=[replay_buffer.add_batch], num_episodes=150
    )
    run = common.function(driver.run)
    run(policy_state=agent.collect_policy.get_initial_state(env.batch_size))
    iterator = iter(replay_buffer.as_dataset(num_parallel_calls=2, sample_batch_size=32, num_steps=8).prefetch(2))
    train = common.function(agent.train)
    for _ in range(250):
        experience, _ = next(iterator)
        loss = train(experience).loss
    assert np.isfinite(float(loss))
    assert int(counter) == 250
    metrics = [tf_metrics.AverageReturnMetric(buffer_size=30)]
    found = metric_utils.eager_compute(metrics, evaluated, agent.policy, num_episodes=30)
    assert float(found["AverageReturn"]) > 0.9


def recurrent_critic(env: Any) -> critic_rnn_network.CriticRnnNetwork:
    return critic_rnn_network.CriticRnnNetwork(
        (env.observation_spec(), env.action_spec()),
        observation_fc_layer_params=(6,),
        action_fc_layer_params=None,
        joint_fc_layer_params=(5,),
        lstm_size=(4,),
        output_fc_layer_params=(4,),
        kernel_initializer="glorot_uniform",
        last_kernel_initializer="glorot_uniform",
    )


def soft(env: Any, counter: tf.Variable) -> Any:
    actor = actor_distribution_rnn_network.ActorDistributionRnnNetwork(
        env.observation_spec(),
        env.action_spec(),
        input_fc_layer_params=(6,),
        lstm_size=(4,),
        output_fc_layer_params=(4,),
        continuous_projection_net=tanh_normal_projection_network.TanhNormalProjectionNetwork,
    )
    return sac_agent.SacAgent(
        env.time_step_spec(),
        env.action_spec(),
        critic_network=recurrent_critic(env),
        actor_network=actor,
        actor_optimizer=tf.keras.optimizers.Adam(1e-3),
        critic_optimizer=tf.keras.optimizers.Adam(1e-3),
        alpha_optimizer=tf.keras.optimizers.Adam(1e-3),
        target_update_tau=0.005,
        train_step_counter=counter,
    )


def deterministic(env: Any, counter: tf.Variable) -> Any:
    actor = actor_rnn_network.ActorRnnNetwork(
        env.observation_spec(),
        env.action_spec(),
        input_fc_layer_params=(6,),
        lstm_size=(4,),
        output_fc_layer_params=(4,),
    )
    return td3_agent.Td3Agent(
        env.time_step_spec(),
        env.action_spec(),
        actor,
        recurrent_critic(env),
        tf.keras.optimizers.Adam(1e-3),
        tf.keras.optimizers.Adam(1e-3),
        actor_update_period=2,
        train_step_counter=counter,
    )


@pytest.mark.slow
@pytest.mark.parametrize("make", [soft, deterministic])
def test_recurrent_actors_and_critics_train_on_sequences(make: Callable[..., Any]) -> None:
    env = tf_py_environment.TFPyEnvironment(suite_gym.load("Pendulum-v1"))
    counter = tf.Variable(0, dtype=tf.int64)
    agent = make(env, counter)
    agent.initialize()
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(agent.collect_data_spec, 1, 100)
    driver = dynamic_step_driver.DynamicStepDriver(
        env, agent.collect_policy, observers=[replay_buffer.add_batch], num_steps=20
    )
    driver.run(policy_state=agent.collect_policy.get_initial_state(1))
    iterator = iter(replay_buffer.as_dataset(sample_batch_size=3, num_steps=8))
    for _ in range(2):
        experience, _ = next(iterator)
        assert np.isfinite(float(agent.train(experience).loss))
    assert np.isfinite(float(agent.loss(experience).loss))
    assert int(counter) == 2
