"""Programs in the style of the tutorials on C51 and SAC, without Reverb and PyBullet."""

from __future__ import annotations

import tensorflow as tf

from distpolicy.agents.categorical_dqn import categorical_dqn_agent
from distpolicy.agents.ddpg import critic_network
from distpolicy.agents.sac import sac_agent, tanh_normal_projection_network
from distpolicy.drivers import dynamic_step_driver, py_driver
from distpolicy.environments import suite_gym, tf_py_environment
from distpolicy.metrics import py_metrics
from distpolicy.networks import actor_distribution_network, categorical_q_network
from distpolicy.policies import py_tf_eager_policy, random_py_policy, random_tf_policy
from distpolicy.replay_buffers import tf_uniform_replay_buffer
from distpolicy.trajectories import trajectory
from distpolicy.utils import common


def test_c51_collects_and_trains() -> None:
    env = tf_py_environment.TFPyEnvironment(suite_gym.load("CartPole-v1"))
    network = categorical_q_network.CategoricalQNetwork(
        env.observation_spec(), env.action_spec(), num_atoms=11, fc_layer_params=(20,)
    )
    agent = categorical_dqn_agent.CategoricalDqnAgent(
        env.time_step_spec(),
        env.action_spec(),
        categorical_q_network=network,
        optimizer=tf.keras.optimizers.Adam(1e-3),
        min_q_value=-20,
        max_q_value=20,
        n_step_update=2,
        td_errors_loss_fn=common.element_wise_squared_loss,
        gamma=0.99,
        train_step_counter=tf.Variable(0, dtype=tf.int64),
        jit_compile=False,
    )
    agent.initialize()
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(agent.collect_data_spec, env.batch_size, 200)
    random_policy = random_tf_policy.RandomTFPolicy(env.time_step_spec(), env.action_spec())
    for policy in (random_policy, agent.collect_policy):
        dynamic_step_driver.DynamicStepDriver(env, policy, [replay_buffer.add_batch], num_steps=15).run()
    dataset = replay_buffer.as_dataset(num_parallel_calls=3, sample_batch_size=16, num_steps=3).prefetch(3)
    agent.train = common.function(agent.train)  # type: ignore[method-assign]
    for experience, _ in dataset.take(3):
        loss = agent.train(experience)
    assert float(loss.loss) > 0.0
    assert int(agent.train_step_counter) == 3


def test_sac_collects_with_a_py_driver_and_trains() -> None:
    collect_env = suite_gym.load("Pendulum-v1")
    tf_env = tf_py_environment.TFPyEnvironment(suite_gym.load("Pendulum-v1"))
    observation_spec, action_spec, time_step_spec = (
        tf_env.observation_spec(),
        tf_env.action_spec(),
        tf_env.time_step_spec(),
    )
    critic_net = critic_network.CriticNetwork(
        (observation_spec, action_spec), joint_fc_layer_params=(16, 16), kernel_initializer="glorot_uniform"
    )
    actor_net = actor_distribution_network.ActorDistributionNetwork(
        observation_spec,
        action_spec,
        fc_layer_params=(16, 16),
        continuous_projection_net=tanh_normal_projection_network.TanhNormalProjectionNetwork,
    )
    agent = sac_agent.SacAgent(
        time_step_spec,
        action_spec,
        actor_network=actor_net,
        critic_network=critic_net,
        actor_optimizer=tf.keras.optimizers.Adam(learning_rate=3e-4),
        critic_optimizer=tf.keras.optimizers.Adam(learning_rate=3e-4),
        alpha_optimizer=tf.keras.optimizers.Adam(learning_rate=3e-4),
        target_update_tau=0.005,
        target_update_period=1,
        td_errors_loss_fn=tf.math.squared_difference,
        gamma=0.99,
        reward_scale_factor=1.0,
        train_step_counter=tf.Variable(0, dtype=tf.int64),
    )
    agent.initialize()
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(agent.collect_data_spec, 1, 1000)

    def observe(made: trajectory.Trajectory) -> None:
        replay_buffer.add_batch(tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], made))

    metric = py_metrics.EnvironmentSteps()
    random_policy = random_py_policy.RandomPyPolicy(collect_env.time_step_spec(), collect_env.action_spec())
    collect_policy = py_tf_eager_policy.PyTFEagerPolicy(agent.collect_policy, use_tf_function=True)
    time_step = collect_env.reset()
    for policy in (random_policy, collect_policy):
        driver = py_driver.PyDriver(collect_env, policy, [observe, metric], max_steps=20)
        time_step, _ = driver.run(time_step, policy.get_initial_state(1))
    assert int(metric.result()) == 40
    for experience, _ in replay_buffer.as_dataset(sample_batch_size=16, num_steps=2).prefetch(5).take(2):
        loss = agent.train(experience)
    assert float(loss.loss) == float(loss.loss)
    assert int(agent.train_step_counter) == 2
