"""Programs in the style of the tutorial on REINFORCE and of TF-Agents' examples of PPO."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from distpolicy.agents.ppo import ppo_agent, ppo_clip_agent, ppo_kl_penalty_agent
from distpolicy.agents.reinforce import reinforce_agent
from distpolicy.drivers import dynamic_episode_driver, py_driver
from distpolicy.environments import suite_gym, tf_py_environment
from distpolicy.metrics import tf_metrics
from distpolicy.networks import (
    actor_distribution_network,
    actor_distribution_rnn_network,
    value_network,
    value_rnn_network,
)
from distpolicy.policies import py_tf_eager_policy
from distpolicy.replay_buffers import tf_uniform_replay_buffer
from distpolicy.utils import common


def load(name: str = "CartPole-v1") -> Any:
    return tf_py_environment.TFPyEnvironment(suite_gym.load(name))


def average_return(environment: Any, policy: Any, num_episodes: int) -> float:
    total = 0.0
    for _ in range(num_episodes):
        time_step = environment.reset()
        while not time_step.is_last():
            time_step = environment.step(policy.action(time_step).action)
            total += time_step.reward.numpy()[0]
    return total / num_episodes


def reinforce(num_iterations: int) -> tuple[float, Any, list[float]]:
    tf.random.set_seed(1)
    train_env, eval_env = load(), load()
    actor_net = actor_distribution_network.ActorDistributionNetwork(
        train_env.observation_spec(), train_env.action_spec(), fc_layer_params=(100,)
    )
    optimizer = tf.keras.optimizers.Adam(learning_rate=1e-3)
    train_step_counter = tf.Variable(0)
    tf_agent = reinforce_agent.ReinforceAgent(
        train_env.time_step_spec(),
        train_env.action_spec(),
        actor_network=actor_net,
        optimizer=optimizer,
        normalize_returns=True,
        train_step_counter=train_step_counter,
    )
    tf_agent.initialize()
    eval_policy, collect_policy = tf_agent.policy, tf_agent.collect_policy
    py_env = suite_gym.load("CartPole-v1")
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(tf_agent.collect_data_spec, 1, 2000)

    def observe(made: Any) -> None:
        replay_buffer.add_batch(tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], made))

    def collect_episode(environment: Any, policy: Any, num_episodes: int) -> None:
        driver = py_driver.PyDriver(
            environment,
            py_tf_eager_policy.PyTFEagerPolicy(policy, use_tf_function=True),
            [observe],
            max_episodes=num_episodes,
        )
        driver.run(environment.reset())

    tf_agent.train = common.function(tf_agent.train)  # type: ignore[method-assign]
    losses = []
    for _ in range(num_iterations):
        collect_episode(py_env, collect_policy, 2)
        experience = replay_buffer.gather_all()
        losses.append(float(tf_agent.train(experience).loss))
        replay_buffer.clear()
    assert int(tf_agent.train_step_counter) == num_iterations
    return average_return(eval_env, eval_policy, 3), tf_agent, losses


def test_reinforce_learns_from_whole_episodes() -> None:
    final_return, _, losses = reinforce(4)
    assert final_return >= 8.0
    assert len(set(losses)) == 4


@pytest.mark.slow
def test_reinforce_learns_cartpole() -> None:
    assert reinforce(250)[0] > 100.0


def make_ppo(kind: str, env: Any, recurrent: bool = False, **arguments: Any) -> Any:
    observation_spec, action_spec = env.observation_spec(), env.action_spec()
    if recurrent:
        actor_net: Any = actor_distribution_rnn_network.ActorDistributionRnnNetwork(
            observation_spec,
            action_spec,
            input_fc_layer_params=(16,),
            lstm_size=(8,),
            output_fc_layer_params=None,
        )
        value_net: Any = value_rnn_network.ValueRnnNetwork(
            observation_spec, input_fc_layer_params=(16,), lstm_size=(8,), output_fc_layer_params=None
        )
    else:
        actor_net = actor_distribution_network.ActorDistributionNetwork(
            observation_spec, action_spec, fc_layer_params=(32,), activation_fn=tf.keras.activations.tanh
        )
        value_net = value_network.ValueNetwork(
            observation_spec, fc_layer_params=(32,), activation_fn=tf.keras.activations.tanh
        )
    module = {
        "PPOAgent": ppo_agent,
        "PPOClipAgent": ppo_clip_agent,
        "PPOKLPenaltyAgent": ppo_kl_penalty_agent,
    }[kind]
    agent = getattr(module, kind)(
        env.time_step_spec(),
        action_spec,
        optimizer=tf.keras.optimizers.Adam(learning_rate=3e-3),
        actor_net=actor_net,
        value_net=value_net,
        train_step_counter=tf.Variable(0, dtype=tf.int64),
        **arguments,
    )
    agent.initialize()
    return agent


def run_ppo(agent: Any, env: Any, num_iterations: int, num_episodes: int = 4, preprocess: bool = False) -> list[Any]:
    """Collects whole episodes, trains on all of them and forgets them, as the examples do."""
    environment_steps = tf_metrics.EnvironmentSteps()
    replay_buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(
        agent.collect_data_spec, batch_size=env.batch_size, max_length=5000
    )
    collect_driver = dynamic_episode_driver.DynamicEpisodeDriver(
        env,
        agent.collect_policy,
        observers=[replay_buffer.add_batch, environment_steps],
        num_episodes=num_episodes,
    )
    collect_driver.run = common.function(collect_driver.run, autograph=False)  # type: ignore[method-assign]
    agent.train = common.function(agent.train, autograph=False)
    infos = []
    for _ in range(num_iterations):
        collect_driver.run()
        trajectories = replay_buffer.gather_all()
        if preprocess:
            trajectories = agent.preprocess_sequence(trajectories)
        infos.append(agent.train(experience=trajectories))
        replay_buffer.clear()
    assert int(environment_steps.result()) >= num_iterations * num_episodes * 8
    return infos


def test_ppo_takes_its_epochs_on_whole_episodes() -> None:
    env = load()
    agent = make_ppo(
        "PPOClipAgent",
        env,
        importance_ratio_clipping=0.2,
        use_gae=True,
        use_td_lambda_return=True,
        num_epochs=3,
        entropy_regularization=0.01,
    )
    before = [variable.numpy() for variable in agent.policy.variables()]
    infos = run_ppo(agent, env, 2)
    assert int(agent.train_step_counter) == 6
    assert all(float(info.loss) > 0.0 for info in infos)
    assert float(infos[-1].extra.value_estimation_loss) > 0.0
    assert any((old != new.numpy()).any() for old, new in zip(before, agent.policy.variables(), strict=True))
    assert average_return(load(), agent.policy, 1) >= 8.0


@pytest.mark.slow
@pytest.mark.parametrize("preprocess", [False, True], ids=["train", "preprocess"])
@pytest.mark.parametrize("kind", ["PPOAgent", "PPOClipAgent"])
def test_ppo_with_recurrent_networks(kind: str, preprocess: bool) -> None:
    env = load()
    arguments = {"importance_ratio_clipping": 0.2, "num_epochs": 3, "value_clipping": 0.5, "policy_l2_reg": 1e-4}
    agent = make_ppo(kind, env, recurrent=True, compute_value_and_advantage_in_train=not preprocess, **arguments)
    infos = run_ppo(agent, env, 2, preprocess=preprocess)
    assert all(tf.math.is_finite(info.loss) for info in infos)
    assert int(agent.train_step_counter) == 6


@pytest.mark.slow
def test_the_divergence_is_penalised() -> None:
    env = load("Pendulum-v1")
    agent = make_ppo(
        "PPOKLPenaltyAgent",
        env,
        num_epochs=5,
        initial_adaptive_kl_beta=1.0,
        adaptive_kl_target=0.01,
        adaptive_kl_tolerance=0.3,
    )
    infos = run_ppo(agent, env, 2, num_episodes=1)
    assert float(infos[-1].extra.kl_penalty_loss) > 0.0


@pytest.mark.slow
def test_ppo_learns_cartpole() -> None:
    tf.random.set_seed(2)
    env = load()
    agent = make_ppo(
        "PPOClipAgent", env, importance_ratio_clipping=0.2, use_gae=True, use_td_lambda_return=True, num_epochs=10
    )
    run_ppo(agent, env, 40, num_episodes=8)
    assert average_return(load(), agent.policy, 5) > 150.0
