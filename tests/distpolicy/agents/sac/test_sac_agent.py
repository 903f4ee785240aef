"""Soft actor-critic against NumPy, written from Haarnoja et al., 2018."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from off_policy_reference import (
    Arrays,
    arrays,
    assert_close,
    descended,
    gradients,
    mlp,
    random_transitions,
    weighted_mean,
)

from distpolicy.agents.ddpg.critic_network import CriticNetwork
from distpolicy.agents.sac.sac_agent import SacAgent
from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.agents.twin_critic_network import TwinCriticNetwork
from distpolicy.errors import ConfigError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.tensor_spec import from_spec
from distpolicy.trajectories.time_step import StepType, time_step_spec
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition

OBSERVATION = ArraySpec((2,), np.float32)
# Bounds that differ by element, and that are not symmetric.
ACTION = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [3.0, 0.5])
CENTER, HALF_WIDTH = np.array([1.0, 0.25]), np.array([2.0, 0.25])
GAMMA, TAU, REWARD_SCALE, TARGET_ENTROPY, LOG_ALPHA = 0.9, 0.3, 2.0, -1.5, -0.4
RATES = {"actor": 0.05, "critic": 0.1, "alpha": 0.2}
BATCH = 6


def make_critic(seed: int) -> CriticNetwork:
    return CriticNetwork(
        from_spec((OBSERVATION, ACTION)),
        joint_fc_layer_params=(4,),
        activation_fn="tanh",
        last_kernel_initializer="glorot_uniform",
        seed=seed,
    )


def make_actor(observation: Any = OBSERVATION, action: Any = ACTION) -> ActorDistributionNetwork:
    return ActorDistributionNetwork(
        observation,
        action,
        fc_layer_params=(3,),
        activation_fn="tanh",
        seed=3,
        continuous_projection_net=TanhNormalProjectionNetwork,
    )


def make_agent(**arguments: Any) -> SacAgent:
    networks = {"critic_network": make_critic(1), "critic_network_2": make_critic(100), "actor_network": make_actor()}
    settings = {
        "actor_optimizer": keras.optimizers.SGD(RATES["actor"]),
        "critic_optimizer": keras.optimizers.SGD(RATES["critic"]),
        "alpha_optimizer": keras.optimizers.SGD(RATES["alpha"]),
        "target_update_tau": TAU,
        "gamma": GAMMA,
        "reward_scale_factor": REWARD_SCALE,
        "initial_log_alpha": LOG_ALPHA,
        "target_entropy": TARGET_ENTROPY,
    }
    return SacAgent(time_step_spec(OBSERVATION), ACTION, **{**networks, **settings, **arguments})


class Reference:
    """One gradient step in float64."""

    def __init__(self, actor: Arrays, critics: list[Arrays], targets: list[Arrays]) -> None:
        self.actor, self.critics, self.targets, self.log_alpha = actor, critics, targets, LOG_ALPHA

    def draw(self, actor: Arrays, observation: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means, log_stds = np.split(mlp(actor, observation), 2, axis=1)
        stds = np.exp(log_stds)
        raw = means + stds * noise
        normal = -0.5 * ((raw - means) / stds) ** 2 - np.log(stds) - 0.5 * np.log(2.0 * np.pi)
        slope = HALF_WIDTH * (1.0 - np.tanh(raw) ** 2)
        return CENTER + HALF_WIDTH * np.tanh(raw), np.sum(normal - np.log(slope), axis=1)

    def values(self, critics: list[Arrays], observation: np.ndarray, action: np.ndarray) -> np.ndarray:
        inputs = np.concatenate([observation, action], axis=1)
        return np.stack([mlp(critic, inputs)[:, 0] for critic in critics])

    def step(self, batch: Transition, weights: np.ndarray, noise: np.ndarray) -> dict[str, Any]:
        weights = np.where(batch.time_step.step_type == StepType.LAST, 0.0, weights)
        now, after, alpha = batch.time_step, batch.next_time_step, np.exp(self.log_alpha)
        action, log_prob = self.draw(self.actor, after.observation, noise[:, 0])
        soft = self.values(self.targets, after.observation, action).min(axis=0) - alpha * log_prob
        target = REWARD_SCALE * after.reward + GAMMA * after.discount * soft
        values = self.values(self.critics, now.observation, batch.action_step.action)

        def critic_loss(flat: Arrays) -> float:
            found = self.values([flat[:4], flat[4:]], now.observation, batch.action_step.action)
            return 0.5 * weighted_mean(np.sum((target - found) ** 2, axis=0), weights)

        flat = [*self.critics[0], *self.critics[1]]
        results = {"critic_loss": critic_loss(flat), "priorities": np.abs(target - values).mean(axis=0)}
        flat = descended(flat, gradients(critic_loss, flat), RATES["critic"])
        self.critics = [flat[:4], flat[4:]]

        def actor_loss(actor: Arrays) -> float:
            action, log_prob = self.draw(actor, now.observation, noise[:, 1])
            return weighted_mean(
                alpha * log_prob - self.values(self.critics, now.observation, action).min(axis=0), weights
            )

        _, log_prob = self.draw(self.actor, now.observation, noise[:, 1])
        results["actor_loss"] = actor_loss(self.actor)
        self.actor = descended(self.actor, gradients(actor_loss, self.actor), RATES["actor"])
        # The loss is linear in log(alpha).
        slope = weighted_mean(-log_prob - TARGET_ENTROPY, weights)
        results["alpha_loss"] = self.log_alpha * slope
        self.log_alpha -= RATES["alpha"] * slope
        self.targets = [
            [(1.0 - TAU) * old + TAU * new for old, new in zip(old_critic, critic, strict=True)]
            for old_critic, critic in zip(self.targets, self.critics, strict=True)
        ]
        return results


def test_two_steps_are_the_papers() -> None:
    critics, targets, actor = [make_critic(1), make_critic(100)], [make_critic(5), make_critic(6)], make_actor()
    agent = make_agent(
        critic_network=critics[0],
        critic_network_2=critics[1],
        target_critic_network=targets[0],
        target_critic_network_2=targets[1],
        actor_network=actor,
    )
    agent.initialize()
    for number, variable in enumerate(target for network in targets for target in network.variables):
        variable.assign_add(np.random.default_rng(number).normal(scale=0.3, size=variable.shape))
    reference = Reference(
        arrays(actor.variables), *([arrays(network.variables) for network in pair] for pair in (critics, targets))
    )
    for seed in range(2):
        batch = random_transitions(ACTION, 2, (BATCH,), seed)
        batch.time_step.step_type[3] = StepType.LAST
        draws = np.random.default_rng(seed)
        weights = draws.uniform(0.2, 1.0, BATCH).astype(np.float32)
        weights[1] = 0.0
        noise = draws.standard_normal((BATCH, 2, 2), np.float32)
        info = agent.train(batch, weights, noise=noise)
        expected = reference.step(batch, weights, noise)
        for name, value in expected.items():
            np.testing.assert_allclose(info.extra[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(info.extra["alpha"], np.exp(reference.log_alpha), rtol=1e-4)
        assert_close(actor.variables, reference.actor)
        for networks, found in ((critics, reference.critics), (targets, reference.targets)):
            for network, values in zip(networks, found, strict=True):
                assert_close(network.variables, values)


def test_targets_start_as_the_critics_and_move_every_period() -> None:
    critic, target = make_critic(1), make_critic(5)
    agent = make_agent(critic_network=critic, target_critic_network=target, target_update_period=2)
    agent.initialize()
    start = arrays(critic.variables)
    assert_close(target.variables, start, rtol=0, atol=0)
    batch, weights = random_transitions(ACTION, 2, (BATCH,)), np.ones(BATCH, np.float32)
    agent.train(batch, weights, noise=np.zeros((BATCH, 2, 2), np.float32))
    assert_close(target.variables, start, rtol=0, atol=0)
    agent.train(batch, weights, noise=np.zeros((BATCH, 2, 2), np.float32))
    moved = [(1 - TAU) * old + TAU * new for old, new in zip(start, arrays(critic.variables), strict=True)]
    assert_close(target.variables, moved, atol=1e-6)


def test_a_twin_network_learns_as_two_networks_do() -> None:
    """The same weights, once as two CriticNetworks and once as one TwinCriticNetwork."""
    unit = BoundedArraySpec((2,), np.float32, -1.0, 1.0)
    twin = TwinCriticNetwork(from_spec((OBSERVATION, unit)), (4,), "tanh", seed=4)
    singles = [
        CriticNetwork(from_spec((OBSERVATION, unit)), joint_fc_layer_params=(4,), activation_fn="tanh", seed=seed)
        for seed in (1, 2)
    ]
    for index, single in enumerate(singles):
        single.create_variables()
        ordered = sorted(twin.trainable_variables, key=lambda item: (item.name[-3:], "bias" in item.name))
        for many, one in zip(ordered, single.trainable_variables, strict=True):
            one.assign(tf.reshape(many[index], one.shape))
    batch, weights = random_transitions(unit, 2, (BATCH,)), np.ones(BATCH, np.float32)
    noise = np.random.default_rng(0).standard_normal((BATCH, 2, 2), np.float32)
    found = []
    for networks in ({"critic_network": twin}, {"critic_network": singles[0], "critic_network_2": singles[1]}):
        if len(networks) == 1:
            networks["critic_network_2"] = None
        agent = SacAgent(
            time_step_spec(OBSERVATION),
            unit,
            actor_network=make_actor(action=unit),
            actor_optimizer=keras.optimizers.SGD(0.1),
            critic_optimizer=keras.optimizers.SGD(0.1),
            alpha_optimizer=None,
            target_update_tau=0.5,
            **networks,
        )
        agent.initialize()
        found.append([agent.train(batch, weights, noise=noise).extra for _ in range(3)])
    for one, two in zip(*found, strict=True):
        for name in ("critic_loss", "actor_loss", "priorities", "q_mean"):
            np.testing.assert_allclose(one[name], two[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_fixed_temperature_stays() -> None:
    agent = make_agent(alpha_optimizer=None, initial_log_alpha=-1.0)
    agent.initialize()
    info = agent.train(random_transitions(ACTION, 2, (BATCH,)))
    np.testing.assert_allclose(info.extra["alpha"], np.exp(-1.0), rtol=1e-6)
    assert float(info.extra["alpha_loss"]) == 0.0


def test_the_temperature_falls_where_the_entropy_is_above_the_target() -> None:
    alphas = []
    for target in (-100.0, 100.0):
        agent = make_agent(target_entropy=target, use_log_alpha_in_alpha_loss=False)
        agent.initialize()
        alphas.append(float(agent.train(random_transitions(ACTION, 2, (BATCH,))).extra["alpha"]))
    assert alphas[0] < np.exp(LOG_ALPHA) < alphas[1]


def test_it_learns_from_trajectories_as_in_tf_agents() -> None:
    """``train(experience)`` alone: two steps a row, noise drawn inside."""
    agent = make_agent()
    agent.initialize()
    batch = random_transitions(ACTION, 2, (BATCH, 2))
    trajectory = Trajectory(
        batch.time_step.step_type,
        batch.time_step.observation,
        batch.action_step.action,
        (),
        batch.next_time_step.step_type,
        batch.next_time_step.reward,
        batch.next_time_step.discount,
    )
    assert agent.train_sequence_length == 2
    assert np.isfinite(float(agent.train(trajectory).loss))


def test_before_learning_actions_are_uniform_and_then_the_actors() -> None:
    agent = make_agent()
    agent.initialize()
    step = tf.nest.map_structure(lambda spec: tf.zeros([4000, *spec.shape], spec.dtype), agent.time_step_spec)._replace(
        step_type=tf.ones([4000], tf.int32)
    )
    agent.explore(0.0, has_begun=False)
    actions = agent.collect_policy.action(step, seed=7).action.numpy()
    shares = (actions - ACTION.minimum) / (ACTION.maximum - ACTION.minimum)
    for element in shares.T:
        counts, _ = np.histogram(element, bins=10, range=(0, 1))
        assert np.all(np.abs(counts - 400) < 100)
    agent.explore(0.5, has_begun=True)
    np.testing.assert_array_equal(
        agent.collect_policy.action(step, seed=7).action,
        agent.collect_policy.wrapped_policy.action(step, seed=7).action,
    )


def test_the_policy_is_the_squashed_mean() -> None:
    actor = make_actor()
    agent = make_agent(actor_network=actor)
    step = tf.nest.map_structure(lambda spec: tf.ones([5, *spec.shape], spec.dtype), agent.time_step_spec)
    means = mlp(arrays(actor.variables), np.ones((5, 2)))[:, :2]
    np.testing.assert_allclose(agent.policy.action(step).action, CENTER + HALF_WIDTH * np.tanh(means), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"critic_network_2": None}, "another seed"),
        ({"critic_network_2": None, "target_critic_network_2": make_critic(9)}, "needs critic_network_2"),
        ({"critic_network": TwinCriticNetwork(from_spec((OBSERVATION, ACTION)), (4,))}, "has several critics"),
        (
            {"actor_network": ActorDistributionRnnNetwork(OBSERVATION, ACTION, lstm_size=(3,)), "n_step_update": 3},
            "n_step_update is 3",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_agent(**arguments)


def test_discrete_actions_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="int32"):
        SacAgent(
            time_step_spec(OBSERVATION),
            BoundedArraySpec((), np.int32, 0, 2),
            make_critic(1),
            make_actor(),
            keras.optimizers.SGD(),
            keras.optimizers.SGD(),
            keras.optimizers.SGD(),
        )
