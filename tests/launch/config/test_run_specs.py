"""An agent that cannot learn an environment's actions is told before anything starts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.errors import ConfigError
from launch.config.run_specs import run_specs
from launch.config.train import TrainConfig

SPACES = {
    "discrete": gym.spaces.Discrete(3, start=2),
    "floats": gym.spaces.Box(-2.0, 2.0, (3,)),
    "unbounded": gym.spaces.Box(-2.0, np.inf, (3,)),
    "two floats": gym.spaces.Tuple((gym.spaces.Box(-1.0, 1.0, (1,)), gym.spaces.Box(-2.0, 2.0, (3,)))),
    "several discrete": gym.spaces.MultiDiscrete([2, 3]),
}


class Still(gym.Env):
    observation_space = gym.spaces.Box(-1.0, 1.0, (2,))

    def __init__(self, actions: str) -> None:
        self.action_space = SPACES[actions]

    def reset(self, **arguments: Any) -> Any: ...
    def step(self, action: Any) -> Any: ...


def check(agent: str, actions: str) -> None:
    config = TrainConfig(
        agent=AgentConfig.of_kind(agent)(), env_kwargs={"actions": actions}, vectorization="sync", rollout_steps=16
    )
    run_specs(config, config.environment_factory.with_callable(Still))


@pytest.mark.parametrize(
    ("agent", "actions"),
    [
        *(("ppo", actions) for actions in SPACES),
        *((agent, "discrete") for agent in ("dqn", "c51", "sac")),
        *((agent, "floats") for agent in ("td3", "ddpg", "sac")),
        ("sac", "two floats"),
    ],
)
def test_actions_that_an_agent_learns_pass(agent: str, actions: str) -> None:
    check(agent, actions)


@pytest.mark.parametrize(
    ("agent", "actions", "told"),
    [
        (
            "td3",
            "discrete",
            r"td3 learns one array of floats between bounds, and env test_run_specs:Still has the action int64",
        ),
        ("td3", "discrete", r"int64\[\] from 2 to 4: take --agent .*dqn.* or sac"),
        ("dqn", "floats", r"dqn learns one discrete action, and .* has the action float32\[3\]: take .*ddpg.*ppo.*td3"),
        ("sac", "unbounded", r"sac learns one discrete action, or floats between bounds, and .*float32\[3\]"),
        ("ddpg", "two floats", r"has the action .*float32\[1\], .*float32\[3\]: take"),
        ("c51", "several discrete", r"int64\[2\] from 0 to 2: take --agent appo or impala or ppo or reinforce$"),
    ],
)
def test_actions_that_an_agent_does_not_learn_are_refused_with_agents_that_do(
    agent: str, actions: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        check(agent, actions)
