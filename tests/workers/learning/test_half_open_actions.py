"""PPO on actions whose bounds are open at one side."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.networks.network_config import NetworkConfig
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory, PolicyFactory
from workers.collection.collector import Collector, CollectorConfig
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.learning.learner import Learner

TARGET = np.array([10.0, -10.0, 2.0], np.float32)
LOW, HIGH = [3.0, -np.inf, -5.0], [np.inf, -3.0, 5.0]


class ReachTarget(gym.Env):
    """Pays for being near the target, element by element.

    Args:
        elements: The elements of the action that there are, of ``[3, inf)``, ``(-inf, -3]`` and ``[-5, 5]``.
    """

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, elements: Any) -> None:
        self.elements = list(elements)
        low, high = (np.array(bound, np.float32)[self.elements] for bound in (LOW, HIGH))
        self.action_space = gym.spaces.Box(low, high, dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.num_steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.num_steps += 1
        reward = -float(np.mean(np.abs(action - TARGET[self.elements]))) / 10.0
        return np.zeros(2, np.float32), reward, self.num_steps >= 10, False, {}


@pytest.mark.parametrize("elements", [(0,), (1,), (0, 1, 2)])
def test_ppo_moves_towards_the_best_action(elements: tuple[int, ...]) -> None:
    environment = EnvironmentFactory("test_half_open_actions:ReachTarget", "sync", {"elements": elements})
    config = TrainConfig(
        env="test_half_open_actions:ReachTarget",
        jit_compile=False,
        network=NetworkConfig(actor_units=(16,)),
        agent=PPOConfig(value_units=(16,), learning_rate=1e-2, learning_rate_schedule="constant", discount=0.9),
    )
    learner = Learner(AgentFactory(config, probe(environment)))
    collector = Collector(CollectorConfig(0, 0, 16, 32, seed=0), environment, PolicyFactory(config))
    weights, rewards = learner.weights(), []
    for _ in range(40):
        rollout, _ = collector.rollout(weights)
        rewards.append(float(rollout.reward[rollout.step_weights > 0].mean()))
        weights, _ = learner.update(0.0, rollout)
    action = np.mean(rollout.action, axis=(0, 1))
    np.testing.assert_allclose(action, TARGET[list(elements)], atol=1.5)
    assert rewards[-1] > rewards[0] + 0.1
