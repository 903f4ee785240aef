"""Q-learning in bfloat16: near float32, with nothing else changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from random_transitions import random_transitions

from distpolicy.agents.agent_config import AgentConfig, LearnerOptions
from distpolicy.agents.categorical_dqn.config import C51Config
from distpolicy.agents.dqn.config import DQNConfig
from distpolicy.agents.mixed_precision import in_bfloat16, layers_in_bfloat16
from distpolicy.agents.r2d2.config import R2D2Config
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.q_rnn_network import QRnnNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import StepType, time_step_spec
from distpolicy.trajectories.trajectory import Trajectory

BATCH, STEPS = 32, 7
SPECS = EnvironmentSpecs(time_step_spec(ArraySpec((3,), np.float32)), BoundedArraySpec((), np.int64, 0, 2))
SEQUENCES = R2D2Config(burn_in=2, sequence_length=4, n_step=1)


def make(config: AgentConfig, mixed_precision: bool, units: tuple[int, ...]) -> TFAgent:
    recurrent: Any = "lstm" if config is SEQUENCES else "none"
    networks = NetworkConfig(actor_units=units, recurrent=recurrent, recurrent_units=(8,))
    agent = config.make_agent(SPECS, networks, LearnerOptions(3, jit_compile=False, mixed_precision=mixed_precision))
    agent.initialize()
    return agent


def priorities(config: AgentConfig, agent: TFAgent) -> np.ndarray:
    draws = np.random.default_rng(0)
    if config is not SEQUENCES:
        info = agent.train(random_transitions((BATCH,), draws.integers(0, 3, size=BATCH)))
    else:
        types = np.full((BATCH, STEPS), StepType.MID, np.int32)
        reward = draws.normal(size=types.shape).astype(np.float32)
        observation, action = draws.normal(size=(*types.shape, 3)).astype(np.float32), draws.integers(0, 3, types.shape)
        steps = Trajectory(types, observation, action, (), types, reward, np.ones_like(reward))
        info = agent.train(steps, policy_state=agent.collect_policy.get_initial_state(BATCH))
    return np.asarray(info.extra["priorities"])


@pytest.mark.parametrize(
    ("config", "units"),
    [
        (DQNConfig(), (16, 16)),
        # The layers of these two are no encoder's: those with noise, and those of the streams.
        (DQNConfig(exploration="noisy"), (16,)),
        (DQNConfig(dueling=True), (16,)),
        (C51Config(num_atoms=5), (16, 16)),
        (SEQUENCES, (16, 16)),
    ],
    ids=["dqn", "noisy", "dueling", "c51", "r2d2"],
)
def test_errors_are_near_those_in_float32(config: AgentConfig, units: tuple[int, ...]) -> None:
    agents = [make(config, mixed_precision, units) for mixed_precision in (False, True)]
    exact, found = (priorities(config, agent) for agent in agents)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=0.05, atol=0.05)
    assert not np.array_equal(found, exact)
    paths, dtypes = (
        [[(item.path if one == 0 else item.variable.dtype) for item in agent.named_variables()] for agent in agents]
        for one in (0, 1)
    )
    assert paths[0] == paths[1], "checkpoints of one do not fit the other"
    assert dtypes[0] == dtypes[1]


def test_values_of_sequences_have_the_last_layers_precision() -> None:
    """Rounded to bfloat16, values around 100 would be a half apart."""
    agent = make(SEQUENCES, True, (16,))
    network = next(item for item in agent.submodules if isinstance(item, QRnnNetwork))
    assert [type(layer).__name__ for layer in network.hidden_layers] == ["LSTMCell", "Dense"]
    with in_bfloat16(layers_in_bfloat16([network], True)):
        values, _ = network(np.ones((4, 3), np.float32), step_type=np.zeros(4, np.int32))
    assert values.dtype == tf.float32
    assert not np.array_equal(values, tf.cast(tf.cast(values, tf.bfloat16), tf.float32))


@pytest.mark.parametrize(
    "config", [DQNConfig(), DQNConfig(exploration="noisy"), C51Config()], ids=["q", "noisy", "c51"]
)
def test_networks_without_hidden_layers_are_refused(config: AgentConfig) -> None:
    make(config, False, ())
    with pytest.raises(
        ConfigError, match=r"mixed_precision would change nothing, since .* have no hidden_layers: leave"
    ):
        make(config, True, ())
