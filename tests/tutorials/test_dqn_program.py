"""A program in the style of TF-Agents' DQN tutorials: whoever has one changes the root of its imports."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from distpolicy.agents.dqn import dqn_agent
from distpolicy.drivers import dynamic_step_driver, py_driver
from distpolicy.environments import suite_gym, tf_py_environment
from distpolicy.eval import metric_utils
from distpolicy.metrics import tf_metrics
from distpolicy.networks import q_network, sequential
from distpolicy.policies import policy_saver, py_tf_eager_policy, random_tf_policy
from distpolicy.replay_buffers import tf_uniform_replay_buffer
from distpolicy.specs import tensor_spec
from distpolicy.trajectories import trajectory
from distpolicy.utils import common


def average_return(environment: Any, policy: Any, num_episodes: int) -> float:
    total = 0.0
    for _ in range(num_episodes):
        time_step = environment.reset()
        while not time_step.is_last():
            time_step = environment.step(policy.action(time_step).action)
            total += time_step.reward.numpy()[0]
    return total / num_episodes


def train(
    num_initial_steps: int, num_iterations: int, seed: int, **arguments: Any
) -> tuple[Any, list[Any], list[float]]:
    """Trains on CartPole; returns the agent, the metrics of collection, and the losses."""
    tf.random.set_seed(seed)
    py_env = suite_gym.load("CartPole-v1")
    py_env.seed(seed)
    env = tf_py_environment.TFPyEnvironment(py_env)
    network = q_network.QNetwork(env.observation_spec(), env.action_spec(), fc_layer_params=(100, 50))
    train_step_counter = tf.Variable(0, dtype=tf.int64)
    agent = dqn_agent.DqnAgent(
        env.time_step_spec(),
        env.action_spec(),
        q_network=network,
        optimizer=tf.keras.optimizers.Adam(learning_rate=1e-3),
        td_errors_loss_fn=common.element_wise_squared_loss,
        gamma=0.99,
        target_update_period=20,
        train_step_counter=train_step_counter,
        **arguments,
    )
    agent.initialize()
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(
        data_spec=agent.collect_data_spec, batch_size=env.batch_size, max_length=20_000
    )
    random_policy = random_tf_policy.RandomTFPolicy(env.time_step_spec(), env.action_spec())
    initial = dynamic_step_driver.DynamicStepDriver(
        env, random_policy, observers=[replay_buffer.add_batch], num_steps=num_initial_steps
    )
    common.function(initial.run)()
    metrics = [
        tf_metrics.NumberOfEpisodes(),
        tf_metrics.EnvironmentSteps(),
        tf_metrics.AverageReturnMetric(),
        tf_metrics.AverageEpisodeLengthMetric(),
    ]
    driver = dynamic_step_driver.DynamicStepDriver(
        env, agent.collect_policy, observers=[replay_buffer.add_batch, *metrics], num_steps=1
    )
    driver.run = common.function(driver.run)  # type: ignore[method-assign]
    agent.train = common.function(agent.train)  # type: ignore[method-assign]
    dataset = replay_buffer.as_dataset(num_parallel_calls=3, sample_batch_size=64, num_steps=2).prefetch(3)
    iterator = iter(dataset)
    time_step, policy_state, losses = None, agent.collect_policy.get_initial_state(env.batch_size), []
    for _ in range(num_iterations):
        time_step, policy_state = driver.run(time_step, policy_state)
        experience, _ = next(iterator)
        losses.append(float(agent.train(experience).loss))
    return agent, metrics, losses


def test_a_short_run_collects_learns_evaluates_and_saves(tmp_path: Any) -> None:
    # XLA takes seconds to compile, which a short run does not regain.
    agent, metrics, losses = train(num_initial_steps=100, num_iterations=30, seed=1, jit_compile=False)
    assert len(losses) == 30
    assert all(loss >= 0.0 for loss in losses)
    assert int(agent.train_step_counter) == 30
    assert int(metrics[1].result()) >= 30
    env = tf_py_environment.TFPyEnvironment(suite_gym.load("CartPole-v1"))
    results = metric_utils.eager_compute([tf_metrics.AverageReturnMetric()], env, agent.policy, num_episodes=2)
    assert float(results["AverageReturn"]) >= 8.0
    assert average_return(env, agent.policy, 1) >= 8.0
    policy_saver.PolicySaver(agent.policy).save(str(tmp_path / "policy"))
    saved = tf.saved_model.load(str(tmp_path / "policy"))
    time_step = env.reset()
    assert int(saved.action(time_step).action[0]) == int(agent.policy.action(time_step).action[0])


@pytest.mark.slow
def test_it_learns() -> None:
    agent, _, _ = train(num_initial_steps=1000, num_iterations=8000, seed=2)
    env = tf_py_environment.TFPyEnvironment(suite_gym.load("CartPole-v1"))
    metric = tf_metrics.AverageReturnMetric(buffer_size=10)
    results = metric_utils.eager_compute([metric], env, agent.policy, num_episodes=10)
    assert float(results["AverageReturn"]) > 150.0


def test_layers_of_keras_collected_by_a_driver_over_arrays() -> None:
    """The later form of the tutorial: a Sequential network, and a PyDriver that fills the replay buffer."""
    py_env = suite_gym.load("CartPole-v1")
    env = tf_py_environment.TFPyEnvironment(py_env)
    action_tensor_spec = tensor_spec.from_spec(py_env.action_spec())
    num_actions = action_tensor_spec.maximum - action_tensor_spec.minimum + 1
    dense = tf.keras.layers.Dense(
        100,
        activation=tf.keras.activations.relu,
        kernel_initializer=tf.keras.initializers.VarianceScaling(
            scale=2.0, mode="fan_in", distribution="truncated_normal"
        ),
    )
    values = tf.keras.layers.Dense(
        int(num_actions),
        activation=None,
        kernel_initializer=tf.keras.initializers.RandomUniform(minval=-0.03, maxval=0.03),
        bias_initializer=tf.keras.initializers.Constant(-0.2),
    )
    agent = dqn_agent.DqnAgent(
        env.time_step_spec(),
        env.action_spec(),
        q_network=sequential.Sequential([dense, values]),
        optimizer=tf.keras.optimizers.Adam(learning_rate=1e-3),
        td_errors_loss_fn=common.element_wise_squared_loss,
        train_step_counter=tf.Variable(0, dtype=tf.int64),
        jit_compile=False,
    )
    agent.initialize()
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(agent.collect_data_spec, 1, 1000)

    def observe(made: trajectory.Trajectory) -> None:
        replay_buffer.add_batch(tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], made))

    policy = py_tf_eager_policy.PyTFEagerPolicy(agent.collect_policy, use_tf_function=True)
    driver = py_driver.PyDriver(py_env, policy, [observe], max_steps=40)
    driver.run(py_env.reset())
    assert int(replay_buffer.num_frames()) >= 40
    before = [variable.numpy() for variable in agent.policy.variables()]
    experience, _ = next(iter(replay_buffer.as_dataset(sample_batch_size=8, num_steps=2)))
    assert float(agent.train(experience).loss) >= 0.0
    assert any((old != new.numpy()).any() for old, new in zip(before, agent.policy.variables(), strict=True))
