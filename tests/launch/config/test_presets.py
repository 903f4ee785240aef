"""Every preset makes its agent, for an environment with the observations and actions that it is for."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.specs import spec_from_space
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from launch.config.presets import preset_names, read_preset

S = gym.spaces


def box(size: int, dtype: type = np.float32) -> S.Box:
    return S.Box(-np.inf, np.inf, (size,), dtype)


# The spaces of the environments, so that their packages are not needed here.
SPACES: dict[str, tuple[gym.Space, gym.Space]] = {
    "Acrobot-v1": (box(6), S.Discrete(3)),
    "MountainCar-v0": (box(2), S.Discrete(3)),
    "LunarLander-v3": (box(8), S.Discrete(4)),
    "LunarLanderContinuous-v3": (box(8), S.Box(-1, 1, (2,))),
    "Pendulum-v1": (box(3), S.Box(-2, 2, (1,))),
    "MountainCarContinuous-v0": (box(2), S.Box(-1, 1, (1,))),
    "BipedalWalker-v3": (box(24), S.Box(-1, 1, (4,))),
    "HalfCheetah-v5": (box(17, np.float64), S.Box(-1, 1, (6,))),
    "Hopper-v5": (box(11, np.float64), S.Box(-1, 1, (3,))),
    "ALE/Pong-v5": (S.Box(0, 255, (84, 84, 4), np.uint8), S.Discrete(6)),
}
OWN = [name for name in preset_names() if read_preset(name).config.env in SPACES]


def test_every_env_of_the_list_has_a_preset() -> None:
    assert {read_preset(name).config.env for name in OWN} == set(SPACES)


@pytest.mark.parametrize("name", OWN)
def test_a_preset_makes_its_agent(name: str) -> None:
    config = read_preset(name).config
    observation, action = map(spec_from_space, SPACES[config.env])
    specs = EnvironmentSpecs(ts.time_step_spec(observation), action)
    agent = config.agent.make_agent(specs, config.network, LearnerOptions())
    step = ts.restart(np.zeros((2, *observation.shape), observation.dtype), batch_size=2)
    acted = agent.policy.action(step).action
    assert tuple(acted.shape) == (2, *action.shape)
    assert agent.collect_data_spec.action.dtype == action.dtype
