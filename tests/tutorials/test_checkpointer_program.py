"""A program in the style of the tutorial on checkpoints and saved policies."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.dqn import dqn_agent
from distpolicy.drivers import dynamic_step_driver
from distpolicy.environments import suite_gym, tf_py_environment
from distpolicy.eval import metric_utils
from distpolicy.metrics import tf_metrics
from distpolicy.networks import q_network
from distpolicy.policies import policy_saver, py_tf_eager_policy, random_tf_policy
from distpolicy.replay_buffers import tf_uniform_replay_buffer
from distpolicy.utils import common


class Program:
    """What such a notebook has as global variables."""

    def __init__(self, folder: Path) -> None:
        self.env = tf_py_environment.TFPyEnvironment(suite_gym.load("CartPole-v1"))
        network = q_network.QNetwork(self.env.observation_spec(), self.env.action_spec(), fc_layer_params=(20,))
        self.global_step = tf.compat.v1.train.get_or_create_global_step()
        self.agent = dqn_agent.DqnAgent(
            self.env.time_step_spec(),
            self.env.action_spec(),
            q_network=network,
            optimizer=tf.keras.optimizers.Adam(learning_rate=1e-3),
            td_errors_loss_fn=common.element_wise_squared_loss,
            train_step_counter=self.global_step,
            jit_compile=False,
        )
        self.agent.initialize()
        self.replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(
            data_spec=self.agent.collect_data_spec, batch_size=self.env.batch_size, max_length=500
        )
        self.checkpointer = common.Checkpointer(
            ckpt_dir=str(folder / "checkpoint"),
            max_to_keep=1,
            agent=self.agent,
            policy=self.agent.policy,
            replay_buffer=self.replay_buffer,
            global_step=self.global_step,
        )
        self.saver = policy_saver.PolicySaver(self.agent.policy)

    def train_one_iteration(self) -> float:
        driver = dynamic_step_driver.DynamicStepDriver(
            self.env, self.agent.collect_policy, observers=[self.replay_buffer.add_batch], num_steps=10
        )
        driver.run()
        experience, _ = next(iter(self.replay_buffer.as_dataset(sample_batch_size=8, num_steps=2)))
        return float(self.agent.train(experience).loss)

    def weights(self) -> list[np.ndarray]:
        return [item.variable.numpy() for item in self.agent.named_variables()]


def test_training_goes_on_from_a_checkpoint_and_the_policy_is_deployed(tmp_path: Path) -> None:
    first = Program(tmp_path)
    start = int(first.global_step)
    for _ in range(3):
        first.train_one_iteration()
    first.checkpointer.save(first.global_step)
    saved, items = first.weights(), first.replay_buffer.gather_all()
    assert int(first.global_step) == start + 3
    first.train_one_iteration()

    second = Program(tmp_path)
    second.checkpointer.initialize_or_restore()
    assert int(second.global_step) == start + 3
    for old, new in zip(saved, second.weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    tf.nest.map_structure(np.testing.assert_array_equal, items, second.replay_buffer.gather_all())
    second.train_one_iteration()

    second.saver.save(str(tmp_path / "policy"))
    saved_policy = tf.saved_model.load(str(tmp_path / "policy"))
    env = second.env
    time_step = env.reset()
    steps = 0
    while not time_step.is_last():
        time_step = env.step(saved_policy.action(time_step).action)
        steps += 1
    assert steps >= 8
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in (tmp_path / "policy").rglob("*"):
            archive.write(file, file.relative_to(tmp_path))
    assert "policy/saved_model.pb" in zipfile.ZipFile(packed).namelist()
    eager = py_tf_eager_policy.SavedModelPyTFEagerPolicy(
        str(tmp_path / "policy"), env.time_step_spec(), env.action_spec()
    )
    py_env = suite_gym.load("CartPole-v1")
    assert int(eager.action(py_env.reset()).action) in (0, 1)


def test_a_metric_of_random_steps_is_in_a_checkpoint(tmp_path: Path) -> None:
    env = tf_py_environment.TFPyEnvironment(suite_gym.load("CartPole-v1"))
    policy = random_tf_policy.RandomTFPolicy(env.time_step_spec(), env.action_spec())

    def metrics() -> list[Any]:
        return [tf_metrics.AverageReturnMetric(), tf_metrics.EnvironmentSteps()]

    found = metrics()
    metric_utils.eager_compute(found, env, policy, num_episodes=3)
    metric_utils.log_metrics(found)
    train_checkpointer = common.Checkpointer(tmp_path, metrics=metric_utils.MetricsGroup(found, "train_metrics"))
    train_checkpointer.save(global_step=0)
    other = metrics()
    common.Checkpointer(tmp_path, metrics=metric_utils.MetricsGroup(other, "train_metrics"))
    assert [float(item.result()) for item in other] == [float(item.result()) for item in found]
    assert float(found[0].result()) > 0.0
