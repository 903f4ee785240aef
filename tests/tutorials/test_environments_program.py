"""Programs in the style of the tutorials on environments, drivers, metrics, policies and replay buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.drivers import dynamic_episode_driver, dynamic_step_driver, py_driver
from distpolicy.environments import (
    py_environment,
    suite_gym,
    tf_environment,
    tf_py_environment,
    utils,
    wrappers,
)
from distpolicy.metrics import py_metrics, tf_metrics
from distpolicy.networks import actor_distribution_network, network
from distpolicy.policies import (
    actor_policy,
    greedy_policy,
    py_policy,
    q_policy,
    random_py_policy,
    random_tf_policy,
    scripted_py_policy,
)
from distpolicy.replay_buffers import py_uniform_replay_buffer, tf_uniform_replay_buffer
from distpolicy.specs import array_spec, tensor_spec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories import trajectory


class DiceEnvironment(py_environment.PyEnvironment):
    """Action 0 throws a die and adds it; action 1 ends the round. Above 15 everything is lost."""

    def __init__(self) -> None:
        self._action_spec = array_spec.BoundedArraySpec(shape=(), dtype=np.int32, minimum=0, maximum=1, name="action")
        self._observation_spec = array_spec.BoundedArraySpec(shape=(1,), dtype=np.int32, minimum=0, name="observation")
        self._dice = np.random.default_rng(0)
        self._total = 0
        self._episode_ended = False

    def action_spec(self) -> Any:
        return self._action_spec

    def observation_spec(self) -> Any:
        return self._observation_spec

    def _reset(self) -> ts.TimeStep:
        self._total, self._episode_ended = 0, False
        return ts.restart(np.array([self._total], dtype=np.int32))

    def _step(self, action: Any) -> ts.TimeStep:
        if self._episode_ended:
            return self.reset()
        if action == 1:
            self._episode_ended = True
        else:
            self._total += int(self._dice.integers(1, 7))
        if self._episode_ended or self._total > 15:
            self._episode_ended = True
            reward = self._total - 15 if self._total <= 15 else -15
            return ts.termination(np.array([self._total], dtype=np.int32), reward)
        return ts.transition(np.array([self._total], dtype=np.int32), reward=0.0, discount=1.0)


def test_an_environment_of_ones_own_is_checked_and_played() -> None:
    environment = DiceEnvironment()
    utils.validate_py_environment(environment, episodes=5)
    end_round = np.array(1, dtype=np.int32)
    time_step = environment.reset()
    total = float(time_step.reward)
    time_step = environment.step(np.array(0, dtype=np.int32))
    time_step = environment.step(end_round)
    total += float(time_step.reward)
    assert -14.0 <= total <= -9.0
    tf_env = tf_py_environment.TFPyEnvironment(environment)
    assert isinstance(tf_env, tf_environment.TFEnvironment)
    time_step = tf_env.reset()
    returns, lengths = [], []
    for _ in range(3):
        episode_reward, episode_steps = 0.0, 0
        while not time_step.is_last():
            time_step = tf_env.step(tf.random.uniform([1], 0, 2, dtype=tf.int32))
            episode_steps += 1
            episode_reward += time_step.reward.numpy()[0]
        returns.append(episode_reward)
        lengths.append(episode_steps)
        time_step = tf_env.reset()
    assert len(returns) == 3
    assert min(lengths) >= 1


def test_wrappers_are_put_around_gymnasium_environments() -> None:
    env = wrappers.ActionDiscretizeWrapper(suite_gym.load("Pendulum-v1"), num_actions=5)
    assert env.action_spec() == array_spec.BoundedArraySpec((), np.int32, 0, 4)
    limited = suite_gym.load("CartPole-v1", env_wrappers=[lambda inner: wrappers.TimeLimit(inner, 4)])
    limited.reset()
    assert [int(limited.step(np.int64(index % 2)).step_type) for index in range(5)] == [1, 1, 1, 2, 0]
    frame = suite_gym.load("CartPole-v1")
    frame.reset()
    assert frame.render().ndim == 3


def test_drivers_over_arrays_and_over_tensors() -> None:
    env = suite_gym.load("CartPole-v1")
    policy = random_py_policy.RandomPyPolicy(time_step_spec=env.time_step_spec(), action_spec=env.action_spec())
    replay_buffer: list[Any] = []
    metric = py_metrics.AverageReturnMetric()
    driver = py_driver.PyDriver(env, policy, [replay_buffer.append, metric], max_steps=20, max_episodes=1)
    initial_time_step = env.reset()
    driver.run(initial_time_step)
    assert 8 <= len(replay_buffer) <= 21

    tf_env = tf_py_environment.TFPyEnvironment(suite_gym.load("CartPole-v1"))
    tf_policy = random_tf_policy.RandomTFPolicy(
        action_spec=tf_env.action_spec(), time_step_spec=tf_env.time_step_spec()
    )
    num_episodes, env_steps = tf_metrics.NumberOfEpisodes(), tf_metrics.EnvironmentSteps()
    episode_driver = dynamic_episode_driver.DynamicEpisodeDriver(
        tf_env, tf_policy, [num_episodes, env_steps], num_episodes=2
    )
    final_time_step, _ = episode_driver.run()
    assert int(num_episodes.result()) == 2
    steps = int(env_steps.result())
    final_time_step, _ = episode_driver.run(final_time_step, ())
    assert int(num_episodes.result()) == 4
    assert int(env_steps.result()) > steps
    step_driver = dynamic_step_driver.DynamicStepDriver(tf_env, tf_policy, [env_steps], num_steps=3)
    before = int(env_steps.result())
    step_driver.run(final_time_step)
    assert int(env_steps.result()) == before + 3


def test_a_replay_buffer_is_filled_by_a_driver_and_read_as_a_dataset() -> None:
    env = tf_py_environment.TFPyEnvironment(suite_gym.load("CartPole-v1"))
    policy = random_tf_policy.RandomTFPolicy(env.time_step_spec(), env.action_spec())
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(
        policy.collect_data_spec, batch_size=env.batch_size, max_length=50
    )
    driver = dynamic_step_driver.DynamicStepDriver(env, policy, observers=[replay_buffer.add_batch], num_steps=30)
    driver.run()
    dataset = replay_buffer.as_dataset(sample_batch_size=4, num_steps=2)
    collected = []
    for sample, _ in dataset.take(3):
        assert isinstance(sample, trajectory.Trajectory)
        assert sample.observation.shape == (4, 2, 4)
        collected.append(sample)
    assert len(collected) == 3
    by_hand = tf_uniform_replay_buffer.TFUniformReplayBuffer(
        [tf.TensorSpec([3], tf.float32, "action"), (tf.TensorSpec([5], tf.float32), tf.TensorSpec([1, 2], tf.float32))],
        batch_size=8,
        max_length=10,
    )
    values = [tf.ones([8, 3]), (tf.zeros([8, 5]), tf.zeros([8, 1, 2]))]
    for _ in range(3):
        by_hand.add_batch(values)
    sample, info = by_hand.get_next(sample_batch_size=10, num_steps=1)
    assert sample[0].shape == (10, 1, 3)
    assert info.ids.shape == (10, 1)
    py_buffer = py_uniform_replay_buffer.PyUniformReplayBuffer(
        capacity=100, data_spec=tensor_spec.to_nest_array_spec(policy.collect_data_spec)
    )
    for item in tf.data.Dataset.from_tensor_slices(collected[0]):
        first = tf.nest.map_structure(lambda leaf: leaf[:1], item)
        py_buffer.add_batch(first)
    assert py_buffer.size == 4
    assert next(iter(py_buffer.as_dataset(sample_batch_size=2, num_steps=2))).reward.shape == (2, 2)


class LinearNetwork(network.Network):
    """A network of one's own, with a layer of Keras."""

    def __init__(self, input_tensor_spec: Any, action_spec: Any, num_actions: int, name: str | None = None) -> None:
        super().__init__(input_tensor_spec=input_tensor_spec, state_spec=(), name=name)
        self._sub_layers = [tf.keras.layers.Dense(num_actions)]

    def call(self, inputs: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        inputs = tf.cast(inputs, tf.float32)
        for layer in self._sub_layers:
            inputs = layer(inputs)
        return inputs, network_state


def test_policies_over_arrays_and_over_tensors() -> None:
    action_spec = array_spec.BoundedArraySpec((2,), np.int32, -10, 10)
    random_policy = random_py_policy.RandomPyPolicy(time_step_spec=None, action_spec=action_spec)
    assert random_policy.action(None).action.shape == (2,)
    script = [(1, np.array([5, 2], np.int32)), (2, np.array([1, 2], np.int32))]
    scripted = scripted_py_policy.ScriptedPyPolicy(time_step_spec=None, action_spec=action_spec, action_script=script)
    assert isinstance(scripted, py_policy.PyPolicy)
    state = scripted.get_initial_state()
    first = scripted.action(None, state)
    np.testing.assert_array_equal(first.action, [5, 2])

    observation_spec = tensor_spec.TensorSpec((4,), tf.float32)
    time_step_spec = ts.time_step_spec(observation_spec)
    discrete = tensor_spec.BoundedTensorSpec((), tf.int32, minimum=0, maximum=2)
    policy = q_policy.QPolicy(time_step_spec, discrete, LinearNetwork(observation_spec, discrete, num_actions=3))
    time_step = ts.restart(tf.ones([2, 4]), batch_size=2)
    assert policy.action(time_step).action.shape == (2,)
    assert policy.distribution(time_step).action.logits.shape == (2, 3)
    continuous = tensor_spec.BoundedTensorSpec((2,), tf.float32, minimum=-1, maximum=1)
    actor = actor_distribution_network.ActorDistributionNetwork(observation_spec, continuous, fc_layer_params=(8,))
    stochastic = actor_policy.ActorPolicy(time_step_spec, continuous, actor)
    greedy = greedy_policy.GreedyPolicy(stochastic)
    np.testing.assert_array_equal(greedy.action(time_step).action, greedy.action(time_step).action)
