"""Recurrent networks in DqnAgent, SacAgent, Td3Agent and DdpgAgent; their numbers are in the golden record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.ddpg.actor_rnn_network import ActorRnnNetwork
from distpolicy.agents.ddpg.critic_rnn_network import CriticRnnNetwork
from distpolicy.agents.ddpg.ddpg_agent import DdpgAgent
from distpolicy.agents.dqn.dqn_agent import DqnAgent
from distpolicy.agents.sac.sac_agent import SacAgent
from distpolicy.agents.td3.td3_agent import Td3Agent
from distpolicy.errors import ConfigError
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.networks.q_rnn_network import QRnnNetwork
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.trajectories.time_step import StepType, time_step_spec
from distpolicy.trajectories.trajectory import Trajectory

OBSERVATION, NUM_ROWS, NUM_STEPS = TensorSpec((2,), tf.float32), 3, 4
DISCRETE, FLOATS = BoundedTensorSpec((), tf.int64, 0, 2), BoundedTensorSpec((2,), tf.float32, -1.0, 1.0)
SIZES: dict[str, Any] = {"lstm_size": (3,), "output_fc_layer_params": None}


def make_dqn() -> DqnAgent:
    network = QRnnNetwork(OBSERVATION, DISCRETE, input_fc_layer_params=None, seed=1, **SIZES)
    return DqnAgent(time_step_spec(OBSERVATION), DISCRETE, network, keras.optimizers.SGD(0.1))


def make_critic(seed: int = 1) -> CriticRnnNetwork:
    narrow = {f"{name}_fc_layer_params": None for name in ("observation", "action", "joint")}
    return CriticRnnNetwork((OBSERVATION, FLOATS), seed=seed, **narrow, **SIZES)


def make_sac() -> SacAgent:
    actor = ActorDistributionRnnNetwork(OBSERVATION, FLOATS, input_fc_layer_params=None, **SIZES)
    optimizers = [keras.optimizers.SGD(0.1) for _ in range(3)]
    return SacAgent(
        time_step_spec(OBSERVATION), FLOATS, make_critic(), actor, *optimizers, critic_network_2=make_critic(2)
    )


def make_deterministic(kind: Any, **arguments: Any) -> Any:
    actor = ActorRnnNetwork(OBSERVATION, FLOATS, input_fc_layer_params=None, seed=3, **SIZES)
    optimizers = [keras.optimizers.SGD(0.1) for _ in range(2)]
    return kind(time_step_spec(OBSERVATION), FLOATS, actor, make_critic(), *optimizers, **arguments)


MAKERS: dict[str, Callable[[], Any]] = {
    "dqn": make_dqn,
    "sac": make_sac,
    "td3": lambda: make_deterministic(Td3Agent, critic_network_2=make_critic(2)),
    "ddpg": lambda: make_deterministic(DdpgAgent),
}


def sequences(agent: Any, num_rows: int = NUM_ROWS, seed: int = 0) -> Trajectory:
    draws = np.random.default_rng(seed)
    outer = (num_rows, NUM_STEPS)
    action = draws.integers(0, 3, outer) if agent.action_spec == DISCRETE else draws.uniform(-1, 1, (*outer, 2))
    return Trajectory(
        np.full(outer, StepType.MID, np.int32),
        draws.normal(size=(*outer, 2)).astype(np.float32),
        action.astype(agent.action_spec.dtype.as_numpy_dtype),
        (),
        np.full(outer, StepType.MID, np.int32),
        draws.normal(size=outer).astype(np.float32),
        np.ones(outer, np.float32),
    )


@pytest.mark.parametrize(
    "name", ["dqn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sac", "td3", "ddpg"))]
)
def test_what_has_no_weight_changes_nothing(name: str) -> None:
    agent = MAKERS[name]()
    agent.initialize()
    noise = () if name in ("dqn", "ddpg") else agent.noise_spec.shape
    known = {} if noise == () else {"noise": np.zeros((NUM_ROWS, NUM_STEPS, *noise), np.float32)}
    experience, weights = sequences(agent), np.ones((NUM_ROWS, NUM_STEPS), np.float32)
    weights[1], weights[2, 2:] = 0.0, 0.0
    loss = agent.loss(experience, weights, **known).loss
    experience.reward[1], experience.reward[2, 2], experience.reward[:, -1] = 9.0, 9.0, 9.0
    np.testing.assert_allclose(agent.loss(experience, weights, **known).loss, loss, rtol=1e-6)
    experience.reward[2, 1] += 1.0
    assert abs(float(agent.loss(experience, weights, **known).loss - loss)) > 1e-4
    info = agent.train(experience, weights, **known)
    assert info.extra["priorities"].shape == (NUM_ROWS,)
    assert info.extra["priorities"][1] == 0.0


@pytest.mark.parametrize("name", ["dqn", "ddpg"])
def test_a_step_is_valued_by_what_came_before_it(name: str) -> None:
    agent = MAKERS[name]()
    agent.initialize()
    experience, weights = sequences(agent), np.zeros((NUM_ROWS, NUM_STEPS), np.float32)
    weights[:, 2] = 1.0
    losses = []
    for change in (0.0, 1.0):
        experience.observation[:, 0] += change
        losses.append(float(agent.loss(experience, weights).loss))
    assert losses[0] != losses[1]
    # An episode that begins in between forgets it.
    experience.step_type[:, 1:3], experience.next_step_type[:, :2] = StepType.FIRST, StepType.FIRST
    reset = float(agent.loss(experience, weights).loss)
    experience.observation[:, 0] += 1.0
    assert float(agent.loss(experience, weights).loss) == pytest.approx(reset, rel=1e-6)


def test_replay_gives_sequences_as_long_as_rollouts() -> None:
    made = make_dqn().experience({"batch_size": 8}, 16)
    assert (made.sequence_length, made.n_step, made.batch_size) == (16, 1, 8)


def test_several_steps_and_networks_that_cannot_be_recurrent_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_step_update is 2"):
        make_deterministic(DdpgAgent, n_step_update=2)
    with pytest.raises(ConfigError, match="finite bounds"):
        ActorRnnNetwork(OBSERVATION, TensorSpec((2,), tf.float32))
