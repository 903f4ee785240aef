"""Other habits of programs than those of the tutorials; each gave the same on TF-Agents 0.19, with its import root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.dqn import dqn_agent
from distpolicy.drivers import dynamic_episode_driver, dynamic_step_driver, tf_driver
from distpolicy.environments import batched_py_environment, py_environment, tf_py_environment, wrappers
from distpolicy.eval import metric_utils
from distpolicy.metrics import tf_metrics
from distpolicy.networks import q_network, sequential
from distpolicy.policies import policy_loader, policy_saver, random_tf_policy
from distpolicy.replay_buffers import tf_uniform_replay_buffer
from distpolicy.specs import array_spec
from distpolicy.trajectories import time_step as ts
from distpolicy.utils import common


class Corridor(py_environment.PyEnvironment):
    """Walk to the right end of a corridor."""

    def __init__(self, length: int = 5) -> None:
        super().__init__()
        self._length, self._place, self._is_over = length, 0, False

    def action_spec(self) -> Any:
        return array_spec.BoundedArraySpec((), np.int32, 0, 1, name="action")

    def observation_spec(self) -> Any:
        return array_spec.BoundedArraySpec((2,), np.float32, 0, 9, name="where")

    def _observed(self) -> np.ndarray:
        return np.array([self._place, self._length], np.float32)

    def _reset(self) -> ts.TimeStep:
        self._place, self._is_over = 0, False
        return ts.restart(self._observed())

    def _step(self, action: Any) -> ts.TimeStep:
        if self._is_over:
            return self.reset()
        self._place = max(0, self._place + (1 if action == 1 else -1))
        self._is_over = self._place >= self._length
        if self._is_over:
            return ts.termination(self._observed(), reward=1.0)
        return ts.transition(self._observed(), reward=-0.1, discount=0.95)


def test_one_environment_takes_a_scalar_action() -> None:
    env = tf_py_environment.TFPyEnvironment(Corridor(2))
    env.reset()
    assert env.step(tf.constant([1])).step_type.numpy().tolist() == [1]
    assert env.step(1).step_type.numpy().tolist() == [2]
    assert env.step(tf.constant(0)).step_type.numpy().tolist() == [0]


def test_episodes_of_a_batch_go_to_metrics_and_buffer_alike() -> None:
    envs = [Corridor(2), Corridor(2)]
    env = tf_py_environment.TFPyEnvironment(batched_py_environment.BatchedPyEnvironment(envs))
    policy = random_tf_policy.RandomTFPolicy(env.time_step_spec(), env.action_spec())
    episodes, steps = tf_metrics.NumberOfEpisodes(), tf_metrics.EnvironmentSteps()
    length = tf_metrics.AverageEpisodeLengthMetric(batch_size=2)
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(
        policy.collect_data_spec, batch_size=env.batch_size, max_length=500
    )
    driver = dynamic_episode_driver.DynamicEpisodeDriver(
        env, policy, observers=[episodes, steps, length, replay_buffer.add_batch], num_episodes=4
    )
    time_step, state = driver.run(num_episodes=3)
    assert int(episodes.result()) >= 3
    driver.run(time_step, state)
    assert int(episodes.result()) >= 7
    everything = replay_buffer.gather_all()
    assert int(steps.result()) == np.sum(~everything.is_boundary().numpy())
    assert int(replay_buffer.num_frames()) == everything.reward.shape[0] * everything.reward.shape[1]
    assert int(episodes.result()) == np.sum(everything.next_step_type.numpy() == 2)
    replay_buffer.clear()
    assert int(replay_buffer.num_frames()) == 0
    rows: list[Any] = []
    tf_driver.TFDriver(env, policy, observers=[rows.append], max_steps=6, disable_tf_function=True).run(env.reset())
    assert 3 <= len(rows) <= 6


@pytest.mark.slow
def test_ddqn_with_summaries_and_a_list_of_metrics(tmp_path: Path) -> None:
    env = tf_py_environment.TFPyEnvironment(wrappers.TimeLimit(Corridor(), 12))
    evaluated = tf_py_environment.TFPyEnvironment(wrappers.TimeLimit(Corridor(3), 12))
    counter = tf.Variable(0, trainable=False, name="steps", dtype=tf.int64)
    layers = [tf.keras.layers.Dense(10, activation="tanh"), tf.keras.layers.Dense(2)]
    agent = dqn_agent.DdqnAgent(
        env.time_step_spec(),
        env.action_spec(),
        q_network=sequential.Sequential(layers),
        optimizer=tf.keras.optimizers.Adam(1e-2),
        td_errors_loss_fn=common.element_wise_huber_loss,
        epsilon_greedy=lambda: 0.3,
        target_update_tau=0.05,
        reward_scale_factor=2.0,
        gradient_clipping=5.0,
        debug_summaries=True,
        summarize_grads_and_vars=True,
        train_step_counter=counter,
    )
    agent.initialize()
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(
        data_spec=agent.collect_data_spec, batch_size=env.batch_size, max_length=100
    )
    metrics = [tf_metrics.EnvironmentSteps(), tf_metrics.NumberOfEpisodes(), tf_metrics.MaxReturnMetric()]
    driver = dynamic_step_driver.DynamicStepDriver(
        env, agent.collect_policy, observers=[replay_buffer.add_batch, *metrics], num_steps=7
    )
    time_step, state = driver.run()
    for _ in range(4):
        time_step, state = driver.run(time_step=time_step, policy_state=state)
    assert int(metrics[0].result()) == 35
    train = common.function(agent.train)
    writer = tf.summary.create_file_writer(str(tmp_path), flush_millis=1000)
    dataset = replay_buffer.as_dataset(
        num_parallel_calls=2, sample_batch_size=8, num_steps=2, single_deterministic_pass=False
    )
    iterator = iter(dataset.prefetch(2))
    with writer.as_default():
        for _ in range(5):
            experience, _ = next(iterator)
            train(experience)
        for metric in metrics:
            metric.tf_summaries(train_step=counter, step_metrics=metrics[:2])
        metric_utils.eager_compute(
            [tf_metrics.AverageReturnMetric(buffer_size=2)],
            evaluated,
            agent.policy,
            num_episodes=2,
            train_step=counter,
            summary_writer=writer,
            summary_prefix="Metrics",
        )
    writer.close()
    (file,) = tmp_path.iterdir()
    events = tf.compat.v1.train.summary_iterator(str(file))
    tags = {value.tag for event in events for value in event.summary.value}
    assert {"Losses/loss", "Metrics/AverageReturn", "Metrics_vs_EnvironmentSteps/MaxReturn"} <= tags
    assert int(counter) == 5


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [None, 1])
def test_saved_policy_takes_a_later_checkpoint(batch_size: int | None, tmp_path: Path) -> None:
    env = tf_py_environment.TFPyEnvironment(Corridor(3))
    counter = tf.Variable(0, dtype=tf.int64)
    network = q_network.QNetwork(env.observation_spec(), env.action_spec(), fc_layer_params=(5,))
    agent = dqn_agent.DqnAgent(
        env.time_step_spec(),
        env.action_spec(),
        q_network=network,
        optimizer=tf.keras.optimizers.Adam(1e-2),
        train_step_counter=counter,
    )
    agent.initialize()
    saver = policy_saver.PolicySaver(
        agent.policy, batch_size=batch_size, train_step=counter, metadata={"kind": tf.Variable(3)}
    )
    saver.save(str(tmp_path / "policy"))
    for variable in network.variables:
        variable.assign(-3.0 * variable + 0.5)
    counter.assign(7)
    saver.save_checkpoint(str(tmp_path / "later"))
    rows = batch_size or 3
    step = ts.restart(tf.constant([[1.0, 2.0], [3.0, 0.0], [0.5, 9.0]][:rows]), batch_size=rows)
    loaded = policy_loader.load(str(tmp_path / "policy"), checkpoint_path=str(tmp_path / "later"))
    found = loaded.action(step, loaded.get_initial_state(batch_size=rows)).action
    np.testing.assert_array_equal(found, agent.policy.action(step).action)
    assert int(loaded.get_train_step()) == 7
    model = tf.saved_model.load(str(tmp_path / "policy"))
    assert int(model.get_metadata()["kind"]) == 3
