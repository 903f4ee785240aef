"""Target networks follow by one rule, whatever the agent: weights are blended, and all else is copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from off_policy_reference import random_transitions
from rollout_training import train

from distpolicy.agents.agent_training import zero_rollout_for
from distpolicy.agents.appo.appo_agent import APPOAgent
from distpolicy.agents.appo.config import APPOConfig
from distpolicy.agents.ddpg.actor_network import ActorNetwork
from distpolicy.agents.ddpg.critic_network import CriticNetwork
from distpolicy.agents.dqn.dqn_agent import DqnAgent
from distpolicy.agents.sac.sac_agent import SacAgent
from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.agents.td3.td3_agent import Td3Agent
from distpolicy.keras_layers.squashed_outer_wrapper import SquashedOuterWrapper
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.layer_stacks import copy_layer
from distpolicy.networks.network import Network
from distpolicy.networks.q_network import QNetwork
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.tensor_spec import from_spec
from distpolicy.trajectories.time_step import time_step_spec

OBSERVATION = ArraySpec((2,), np.float32)
FLOATS = BoundedArraySpec((1,), np.float32, -1.0, 1.0)
CHOICE = BoundedArraySpec((), np.int64, 0, 2)
BOTH = from_spec((OBSERVATION, FLOATS))
STEPS = time_step_spec(OBSERVATION)
TAU = 0.1
Values = list[np.ndarray]


class Normalised(Network):
    """Normalises observations by statistics that are not trained, and counts its calls in an integer."""

    def __init__(self, input_tensor_spec: Any, head: Network, name: str | None = "Normalised") -> None:
        super().__init__(input_tensor_spec, (), name)
        self._head = copy_layer(head)
        self._norm = SquashedOuterWrapper(keras.layers.BatchNormalization(), inner_rank=1)
        self._count = tf.Variable(0, trainable=False, dtype=tf.int64)

    def call(self, inputs: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        if training:
            self._count.assign_add(1)
        observation, *others = tf.nest.flatten(inputs)
        normalised = [self._norm(observation, training=training), *others]
        return self._head(tf.nest.pack_sequence_as(inputs, normalised), step_type=step_type)


class Case(NamedTuple):
    """An agent, its networks with their targets, and a function that makes one update."""

    agent: Any
    pairs: Sequence[tuple[Sequence[tf.Variable], Sequence[tf.Variable]]]
    update: Callable[[], Any]
    moves_before_it_learns: bool = False


def critic() -> Normalised:
    return Normalised(BOTH, CriticNetwork(BOTH, joint_fc_layer_params=(4,)))


def pairs_of(*networks: Network) -> list[tuple[Sequence[tf.Variable], Sequence[tf.Variable]]]:
    """Networks, each followed by its target."""
    return [(one.variables, target.variables) for one, target in zip(networks[::2], networks[1::2], strict=True)]


def transitions(agent: Any) -> dict[str, Any]:
    noise = agent.noise_spec
    drawn = np.random.default_rng(1).standard_normal((8, *getattr(noise, "shape", ())), np.float32)
    return {"experience": random_transitions(FLOATS, 2, (8,)), **({} if noise is None else {"noise": drawn})}


def dqn(**settings: Any) -> Case:
    network, target = (Normalised(OBSERVATION, QNetwork(OBSERVATION, CHOICE, fc_layer_params=(4,))) for _ in range(2))
    optimizer = keras.optimizers.SGD(0.1)
    agent = DqnAgent(STEPS, CHOICE, network, optimizer, target_q_network=target, **settings)
    batch = random_transitions(FLOATS, 2, (8,))
    batch = batch._replace(action_step=batch.action_step._replace(action=np.arange(8) % 3))
    return Case(agent, pairs_of(network, target), lambda: agent.train(batch))


def sac(**settings: Any) -> Case:
    networks = [critic() for _ in range(4)]
    actor = ActorDistributionNetwork(
        OBSERVATION, FLOATS, fc_layer_params=(4,), continuous_projection_net=TanhNormalProjectionNetwork
    )
    agent = SacAgent(
        STEPS,
        FLOATS,
        networks[0],
        actor,
        keras.optimizers.SGD(0.1),
        keras.optimizers.SGD(0.1),
        keras.optimizers.SGD(0.1),
        critic_network_2=networks[2],
        target_critic_network=networks[1],
        target_critic_network_2=networks[3],
        **settings,
    )
    return Case(agent, pairs_of(*networks), lambda: agent.train(**transitions(agent)))


def td3(**settings: Any) -> Case:
    critics = [critic() for _ in range(4)]
    actors = [Normalised(OBSERVATION, ActorNetwork(OBSERVATION, FLOATS, fc_layer_params=(4,))) for _ in range(2)]
    agent = Td3Agent(
        STEPS,
        FLOATS,
        actors[0],
        critics[0],
        keras.optimizers.SGD(0.1),
        keras.optimizers.SGD(0.1),
        critic_network_2=critics[2],
        target_actor_network=actors[1],
        target_critic_network=critics[1],
        target_critic_network_2=critics[3],
        **settings,
    )
    return Case(agent, pairs_of(*critics, *actors), lambda: agent.train(**transitions(agent)))


def appo(target_update_tau: float, target_update_period: int, jit_compile: bool) -> Case:
    config = APPOConfig(target_update_tau=target_update_tau, target_update_period=target_update_period)
    actor = Normalised(OBSERVATION, ActorDistributionNetwork(OBSERVATION, CHOICE, fc_layer_params=(4,)))
    value = ValueNetwork(OBSERVATION, fc_layer_params=(4,))
    agent = APPOAgent(STEPS, CHOICE, actor, value, config, jit_compile=jit_compile)
    targets = [item.variable for item in agent.named_variables() if item.path.startswith("target_network/")]
    rollout = zero_rollout_for(agent, 4, 8)
    observation = np.random.default_rng(0).normal(size=rollout.observation.shape).astype(np.float32)
    rollout = rollout._replace(observation=observation, reward=rollout.reward + 1.0)
    return Case(agent, [(actor.variables, targets)], lambda: train(agent, rollout), moves_before_it_learns=True)


def values(variables: Sequence[tf.Variable]) -> Values:
    return [variable.numpy() for variable in variables]


def followed(sources: Sequence[tf.Variable], source: Values, target: Values) -> Values:
    """The target's values after an update, by the values before it."""
    return [
        (1 - np.float32(TAU)) * old + np.float32(TAU) * new if variable.trainable else new
        for variable, new, old in zip(sources, source, target, strict=True)
    ]


@pytest.mark.parametrize(
    ("period", "jit_compile"), [(1, False), (2, True)], ids=["every update", "every second, by XLA"]
)
@pytest.mark.parametrize("make", [dqn, sac, td3, appo], ids=lambda make: make.__name__)
def test_weights_are_blended_and_statistics_and_counters_are_copied(
    make: Callable[..., Case], period: int, jit_compile: bool
) -> None:
    case = make(target_update_tau=TAU, target_update_period=period, jit_compile=jit_compile)
    case.agent.initialize()
    draws = np.random.default_rng(0)
    for update in range(3):
        for sources, _ in case.pairs:
            assert {(item.trainable, item.dtype.is_floating) for item in sources} == {(1, 1), (0, 1), (0, 0)}
            for item in sources:
                if not item.trainable:
                    item.assign(tf.cast(draws.uniform(1.0, 90.0, item.shape), item.dtype))
        before = [(values(sources), values(targets)) for sources, targets in case.pairs]
        case.update()
        is_due = (update if case.moves_before_it_learns else update + 1) % period == 0
        for (sources, targets), (source, target) in zip(case.pairs, before, strict=True):
            learned = source if case.moves_before_it_learns else values(sources)
            expected = followed(sources, learned, target) if is_due else target
            for item, found, wanted in zip(sources, values(targets), expected, strict=True):
                if item.trainable and is_due:
                    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=item.name)
                else:
                    np.testing.assert_array_equal(found, wanted, err_msg=item.name)


def test_a_frozen_target_network_follows_by_tau_as_well() -> None:
    case = dqn(target_update_tau=TAU, jit_compile=False)
    ((sources, targets),) = case.pairs
    case.agent._target_q_network.trainable = False
    assert not any(item.trainable for item in case.agent._target_q_network.variables)
    case.agent.initialize()
    before = values(targets)
    case.update()
    for found, wanted in zip(values(targets), followed(sources, values(sources), before), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
