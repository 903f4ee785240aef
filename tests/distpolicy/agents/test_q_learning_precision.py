"""Q-learning in bfloat16: near float32, with nothing else changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_transitions import random_transitions

from distpolicy.agents.agent_config import AgentConfig, LearnerOptions
from distpolicy.agents.categorical_dqn.config import C51Config
from distpolicy.agents.dqn.config import DQNConfig
from distpolicy.agents.r2d2.config import R2D2Config
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import StepType, time_step_spec
from distpolicy.trajectories.trajectory import Trajectory

BATCH, STEPS = 32, 7
SPECS = EnvironmentSpecs(time_step_spec(ArraySpec((3,), np.float32)), BoundedArraySpec((), np.int64, 0, 2))
SEQUENCES = R2D2Config(burn_in=2, sequence_length=4, n_step=1)


def priorities(config: AgentConfig, mixed_precision: bool) -> np.ndarray:
    recurrent: Any = "lstm" if config is SEQUENCES else "none"
    networks = NetworkConfig(actor_units=(16, 16), recurrent=recurrent, recurrent_units=(8,))
    options = LearnerOptions(seed=3, jit_compile=False, mixed_precision=mixed_precision)
    agent = config.make_agent(SPECS, networks, options)
    agent.initialize()
    draws = np.random.default_rng(0)
    if config is not SEQUENCES:
        info = agent.train(random_transitions((BATCH,), draws.integers(0, 3, size=BATCH)))
    else:
        types = np.full((BATCH, STEPS), StepType.MID, np.int32)
        reward = draws.normal(size=types.shape).astype(np.float32)
        observation, action = draws.normal(size=(*types.shape, 3)).astype(np.float32), draws.integers(0, 3, types.shape)
        steps = Trajectory(types, observation, action, (), types, reward, np.ones_like(reward))
        info = agent.train(steps, policy_state=agent.collect_policy.get_initial_state(BATCH))
    assert all(item.variable.dtype.name != "bfloat16" for item in agent.named_variables())
    return np.asarray(info.extra["priorities"])


@pytest.mark.parametrize("config", [DQNConfig(), C51Config(num_atoms=5), SEQUENCES], ids=lambda config: config.kind)
def test_errors_are_near_those_in_float32(config: AgentConfig) -> None:
    exact, found = priorities(config, False), priorities(config, True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=0.05, atol=0.05)
    assert not np.array_equal(found, exact)
