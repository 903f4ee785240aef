"""TD3 against NumPy, written from Fujimoto et al., 2018."""

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

from distpolicy.agents.ddpg.actor_network import ActorNetwork
from distpolicy.agents.ddpg.critic_network import CriticNetwork
from distpolicy.agents.ddpg.ddpg_agent import DdpgAgent
from distpolicy.agents.td3.td3_agent import Td3Agent
from distpolicy.errors import ConfigError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.tensor_spec import from_spec
from distpolicy.trajectories.time_step import StepType, time_step_spec
from distpolicy.trajectories.transitions import Transition

OBSERVATION = ArraySpec((2,), np.float32)
# Bounds that differ by element, and that are not symmetric.
ACTION = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [3.0, 0.5])
CENTER, HALF_WIDTH = np.array([1.0, 0.25]), np.array([2.0, 0.25])
GAMMA, TAU, REWARD_SCALE = 0.9, 0.3, 2.0
ACTOR_RATE, CRITIC_RATE = 0.05, 0.1
TARGET_NOISE, NOISE_CLIP = 0.8, 0.5
BATCH = 6


def make_critic(seed: int) -> CriticNetwork:
    return CriticNetwork(
        from_spec((OBSERVATION, ACTION)),
        joint_fc_layer_params=(4,),
        activation_fn="tanh",
        last_kernel_initializer="glorot_uniform",
        seed=seed,
    )


def make_actor(seed: int = 3, action: Any = ACTION) -> ActorNetwork:
    return ActorNetwork(
        from_spec(OBSERVATION),
        from_spec(action),
        fc_layer_params=(3,),
        activation_fn="tanh",
        last_kernel_initializer="glorot_uniform",
        seed=seed,
    )


def in_order(network: Any) -> list[tf.Variable]:
    """Returns the variables from the input to the output; an ActorNetwork's come with those of the output first."""
    variables = list(network.variables)
    return variables[2:] + variables[:2] if isinstance(network, ActorNetwork) else variables


def optimizers() -> dict[str, Any]:
    return {
        "actor_optimizer": keras.optimizers.SGD(ACTOR_RATE),
        "critic_optimizer": keras.optimizers.SGD(CRITIC_RATE),
    }


def make_td3(**arguments: Any) -> Td3Agent:
    settings = {
        "actor_network": make_actor(),
        "critic_network": make_critic(1),
        "critic_network_2": make_critic(100),
        "target_update_tau": TAU,
        "td_errors_loss_fn": tf.math.squared_difference,
        "gamma": GAMMA,
        "reward_scale_factor": REWARD_SCALE,
        "target_policy_noise": TARGET_NOISE,
        "target_policy_noise_clip": NOISE_CLIP,
        **optimizers(),
    }
    return Td3Agent(time_step_spec(OBSERVATION), ACTION, **{**settings, **arguments})


class Reference:
    """Gradient steps in float64; with one critic and without noise it is DDPG."""

    def __init__(self, actors: list[Arrays], critics: list[Arrays], targets: list[Arrays]) -> None:
        self.actor, self.target_actor = actors
        self.critics, self.targets = critics, targets

    def act(self, actor: Arrays, observation: np.ndarray) -> np.ndarray:
        return CENTER + HALF_WIDTH * np.tanh(mlp(actor, observation))

    def values(self, critics: list[Arrays], observation: np.ndarray, action: np.ndarray) -> np.ndarray:
        inputs = np.concatenate([observation, action], axis=1)
        return np.stack([mlp(critic, inputs)[:, 0] for critic in critics])

    def step(
        self, batch: Transition, weights: np.ndarray, noise: np.ndarray | float, with_actor: bool
    ) -> dict[str, Any]:
        weights = np.where(batch.time_step.step_type == StepType.LAST, 0.0, weights)
        now, after, size = batch.time_step, batch.next_time_step, len(self.critics[0])
        action = self.act(self.target_actor, after.observation) + np.clip(noise, -NOISE_CLIP, NOISE_CLIP)
        action = np.clip(action, ACTION.minimum, ACTION.maximum)
        following = self.values(self.targets, after.observation, action).min(axis=0)
        target = REWARD_SCALE * after.reward + GAMMA * after.discount * following
        values = self.values(self.critics, now.observation, batch.action_step.action)

        def split(flat: Arrays) -> list[Arrays]:
            return [flat[start : start + size] for start in range(0, len(flat), size)]

        def critic_loss(flat: Arrays) -> float:
            found = self.values(split(flat), now.observation, batch.action_step.action)
            return weighted_mean(np.sum((target - found) ** 2, axis=0), weights)

        flat = [array for critic in self.critics for array in critic]
        results = {"critic_loss": critic_loss(flat), "priorities": np.abs(target - values).mean(axis=0)}
        self.critics = split(descended(flat, gradients(critic_loss, flat), CRITIC_RATE))

        def actor_loss(actor: Arrays) -> float:
            action = self.act(actor, now.observation)
            return -weighted_mean(self.values(self.critics, now.observation, action)[0], weights)

        results["actor_loss"] = 0.0
        if with_actor:
            results["actor_loss"] = actor_loss(self.actor)
            self.actor = descended(self.actor, gradients(actor_loss, self.actor), ACTOR_RATE)
        return results

    def move_targets(self) -> None:
        def moved(olds: Arrays, news: Arrays) -> Arrays:
            return [(1.0 - TAU) * old + TAU * new for old, new in zip(olds, news, strict=True)]

        self.targets = [moved(old, new) for old, new in zip(self.targets, self.critics, strict=True)]
        self.target_actor = moved(self.target_actor, self.actor)


def check_steps(
    agent: Any, actors: list[Any], critics: list[Any], targets: list[Any], period: int, noise_scale: float
) -> None:
    """Takes three steps with the agent and with the reference."""
    agent.initialize()
    for number, variable in enumerate(item for network in [actors[1], *targets] for item in network.variables):
        variable.assign_add(np.random.default_rng(number).normal(scale=0.3, size=variable.shape))
    reference = Reference(*([arrays(in_order(item)) for item in networks] for networks in (actors, critics, targets)))
    for seed in range(3):
        batch = random_transitions(ACTION, 2, (BATCH,), seed)
        batch.time_step.step_type[3] = StepType.LAST
        draws = np.random.default_rng(seed)
        weights = draws.uniform(0.2, 1.0, BATCH).astype(np.float32)
        weights[1] = 0.0
        noise = draws.standard_normal((BATCH, 2), np.float32)
        info = agent.train(batch, weights, **({"noise": noise} if noise_scale else {}))
        expected = reference.step(batch, weights, noise_scale * noise, with_actor=seed % period == 0)
        if (seed + 1) % period == 0:
            reference.move_targets()
        for name, value in expected.items():
            np.testing.assert_allclose(info.extra[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
        for network, values in zip(actors, (reference.actor, reference.target_actor), strict=True):
            assert_close(in_order(network), values)
        for networks, found in ((critics, reference.critics), (targets, reference.targets)):
            for network, values in zip(networks, found, strict=True):
                assert_close(network.variables, values)


@pytest.mark.parametrize("period", [1, 2])
def test_td3s_steps_are_the_papers(period: int) -> None:
    actors, critics = [make_actor(3), make_actor(4)], [make_critic(1), make_critic(100)]
    targets = [make_critic(5), make_critic(6)]
    agent = make_td3(
        actor_network=actors[0],
        target_actor_network=actors[1],
        critic_network=critics[0],
        critic_network_2=critics[1],
        target_critic_network=targets[0],
        target_critic_network_2=targets[1],
        actor_update_period=period,
        target_update_period=period,
    )
    check_steps(agent, actors, critics, targets, period, TARGET_NOISE)


def test_ddpgs_steps_are_the_papers() -> None:
    actors, critic, target = [make_actor(3), make_actor(4)], make_critic(1), make_critic(5)
    agent = DdpgAgent(
        time_step_spec(OBSERVATION),
        ACTION,
        actors[0],
        critic,
        target_actor_network=actors[1],
        target_critic_network=target,
        target_update_tau=TAU,
        td_errors_loss_fn=tf.math.squared_difference,
        gamma=GAMMA,
        reward_scale_factor=REWARD_SCALE,
        **optimizers(),
    )
    assert agent.train_arguments == ()
    check_steps(agent, actors, [critic], [target], period=1, noise_scale=0.0)


def test_the_actor_climbs_by_a_clipped_slope_of_the_value() -> None:
    """With a bound of 0 the actor stays as it is."""
    starts = []
    for bound in (None, 1e-3, 0.0):
        actor = make_actor()
        agent = make_td3(actor_network=actor, dqda_clipping=bound)
        agent.initialize()
        before = arrays(actor.variables)
        agent.train(random_transitions(ACTION, 2, (BATCH,)))
        moves = [np.abs(new - old).max() for new, old in zip(arrays(actor.variables), before, strict=True)]
        starts.append(max(moves))
    assert starts[0] > starts[1] > starts[2] == 0.0


def test_the_default_loss_is_hubers() -> None:
    agents = [make_td3(td_errors_loss_fn=None), make_td3()]
    batch = random_transitions(ACTION, 2, (BATCH,))
    far = batch.replace(next_time_step=batch.next_time_step._replace(reward=np.full(BATCH, 1000.0, np.float32)))
    losses = []
    for agent in agents:
        agent.initialize()
        losses.append(float(agent.train(far, noise=np.zeros((BATCH, 2), np.float32)).extra["critic_loss"]))
    # Two critics, each about 2,000 away.
    assert 3900 < losses[0] < 4100 < 4e6 < losses[1]


def zero_step(agent: Any, num_rows: int) -> Any:
    step = tf.nest.map_structure(lambda spec: tf.zeros([num_rows, *spec.shape], spec.dtype), agent.time_step_spec)
    return step._replace(step_type=tf.ones([num_rows], tf.int32))


def test_exploration_noise_moves_with_the_run() -> None:
    agent = make_td3(exploration_noise_std=[0.1, 0.02], final_exploration_noise_std=[0.3, 0.04])
    step = zero_step(agent, 4000)
    greedy = agent.policy.action(step).action.numpy()
    for progress, expected in ((0.0, (0.1, 0.02)), (0.5, (0.2, 0.03)), (1.0, (0.3, 0.04))):
        agent.explore(progress, has_begun=True)
        noise = agent.collect_policy.action(step, seed=3).action.numpy() - greedy
        np.testing.assert_allclose(noise.std(axis=0), expected, rtol=0.1)
    agent.explore(0.0, has_begun=False)
    spread = agent.collect_policy.action(step, seed=3).action.numpy().std(axis=0)
    np.testing.assert_allclose(spread, 2 * HALF_WIDTH / np.sqrt(12), rtol=0.1)


def test_correlated_exploration_has_the_deviation_that_was_asked_for_and_replaces_uniform_actions() -> None:
    agent = make_td3(exploration_noise_std=[0.1, 0.02], exploration_correlation=0.8)
    agent.explore(0.0, has_begun=False)
    step, state = zero_step(agent, 4000), agent.collect_policy.get_initial_state(4000)
    greedy, noises = agent.policy.action(step).action.numpy(), []
    for seed in range(12):
        taken = agent.collect_policy.action(step, state, seed=seed)
        state = taken.state
        noises.append(taken.action.numpy() - greedy)
    np.testing.assert_allclose(noises[-1].std(axis=0), [0.1, 0.02], rtol=0.1)
    for element in range(2):
        found = np.corrcoef(noises[-1][:, element], noises[-2][:, element])[0, 1]
        np.testing.assert_allclose(found, 0.8, atol=0.05)


def test_ddpgs_noise_is_carried_in_the_policy_state() -> None:
    agent = DdpgAgent(
        time_step_spec(OBSERVATION),
        ACTION,
        make_actor(),
        make_critic(1),
        ou_stddev=np.array([0.02, 0.01]),
        ou_damping=0.15,
        **optimizers(),
    )
    step, state = zero_step(agent, 3), agent.collect_policy.get_initial_state(3)
    greedy, noise = agent.policy.action(step).action.numpy(), np.zeros((3, 2))
    for seed in range(4):
        taken = agent.collect_policy.action(step, state, seed=seed)
        after = taken.action.numpy() - greedy
        drawn = (after - 0.85 * noise) / np.array([0.02, 0.01])
        assert np.all(np.abs(drawn) < 5)
        assert np.all(np.abs(drawn) > 1e-4)
        np.testing.assert_allclose(tf.nest.flatten(taken.state)[0], after, atol=1e-6)
        noise, state = after, taken.state


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"a": ACTION, "b": ACTION}, r"one action of floats, but action_spec holds float32\[2\], float32\[2\]"),
        (BoundedArraySpec((), np.int32, 0, 2), r"one action of floats, but action_spec holds int32"),
    ],
)
def test_other_actions_are_refused(action: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Td3Agent(
            time_step_spec(OBSERVATION),
            action,
            make_actor(),
            make_critic(1),
            critic_network_2=make_critic(2),
            **optimizers(),
        )
