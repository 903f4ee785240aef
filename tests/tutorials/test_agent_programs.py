"""Programs in the style of the tutorials on C51 and SAC, without Reverb and PyBullet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.categorical_dqn import categorical_dqn_agent
from distpolicy.agents.ddpg import critic_network
from distpolicy.agents.sac import sac_agent, tanh_normal_projection_network
from distpolicy.drivers import dynamic_step_driver
from distpolicy.environments import suite_gym, tf_py_environment
from distpolicy.metrics import py_metrics
from distpolicy.networks import actor_distribution_network, categorical_q_network
from distpolicy.policies import py_tf_eager_policy, random_py_policy, random_tf_policy
from distpolicy.replay_buffers import tf_uniform_replay_buffer
from distpolicy.train import actor, learner, triggers
from distpolicy.train.utils import spec_utils, strategy_utils, train_utils
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


@pytest.mark.slow
def test_sac_trains_by_actors_and_a_learner(tmp_path: Path) -> None:
    collect_env, eval_env = suite_gym.load("Pendulum-v1"), suite_gym.load("Pendulum-v1", max_episode_steps=20)
    strategy = strategy_utils.get_strategy(tpu=False, use_gpu=False)
    observation_spec, action_spec, time_step_spec = spec_utils.get_tensor_specs(collect_env)
    with strategy.scope():
        critic_net = critic_network.CriticNetwork(
            (observation_spec, action_spec),
            observation_fc_layer_params=None,
            action_fc_layer_params=None,
            joint_fc_layer_params=(16, 16),
            kernel_initializer="glorot_uniform",
            last_kernel_initializer="glorot_uniform",
        )
        actor_net = actor_distribution_network.ActorDistributionNetwork(
            observation_spec,
            action_spec,
            fc_layer_params=(16, 16),
            continuous_projection_net=tanh_normal_projection_network.TanhNormalProjectionNetwork,
        )
        train_step = train_utils.create_train_step()
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
            train_step_counter=train_step,
        )
        agent.initialize()
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(agent.collect_data_spec, 1, 1000)

    def rb_observer(made: trajectory.Trajectory) -> None:
        replay_buffer.add_batch(tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], made))

    eval_policy = py_tf_eager_policy.PyTFEagerPolicy(agent.policy, use_tf_function=True)
    collect_policy = py_tf_eager_policy.PyTFEagerPolicy(agent.collect_policy, use_tf_function=True)
    random_policy = random_py_policy.RandomPyPolicy(collect_env.time_step_spec(), collect_env.action_spec())
    actor.Actor(collect_env, random_policy, train_step, steps_per_run=30, observers=[rb_observer]).run()
    env_step_metric = py_metrics.EnvironmentSteps()
    collect_actor = actor.Actor(
        collect_env,
        collect_policy,
        train_step,
        steps_per_run=1,
        metrics=actor.collect_metrics(10),
        summary_dir=str(tmp_path / learner.TRAIN_DIR),
        observers=[rb_observer, env_step_metric],
    )
    eval_actor = actor.Actor(
        eval_env,
        eval_policy,
        train_step,
        episodes_per_run=2,
        metrics=actor.eval_metrics(2),
        summary_dir=str(tmp_path / "eval"),
    )
    saved_model_dir = tmp_path / learner.POLICY_SAVED_MODEL_DIR
    agent_learner = learner.Learner(
        str(tmp_path),
        train_step,
        agent,
        lambda: replay_buffer.as_dataset(sample_batch_size=16, num_steps=2).prefetch(5),
        triggers=[
            triggers.PolicySavedModelTrigger(str(saved_model_dir), agent, train_step, interval=2),
            triggers.StepPerSecondLogTrigger(train_step, interval=1000),
        ],
        strategy=strategy,
    )
    for _ in range(3):
        collect_actor.run()
        loss_info = agent_learner.run(iterations=1)
    assert np.isfinite(float(loss_info.loss))
    assert (int(train_step), int(env_step_metric.result())) == (3, 3)
    eval_actor.run_and_log()
    results = {metric.name: metric.result() for metric in eval_actor.metrics}
    assert results["AverageEpisodeLength"] == 20.0
    assert results["AverageReturn"] < 0.0
    assert (saved_model_dir / "greedy_policy" / "saved_model.pb").exists()
