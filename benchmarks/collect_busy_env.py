"""Environments whose step takes as long as it is told to."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np

EPISODE_STEPS = 200


class BusyEnv(gym.Env):
    """Two actions, observations of CartPole's shape, episodes of 200 steps. It keeps its CPU busy.

    Args:
        cost_s: Seconds that a step takes.
    """

    def __init__(self, cost_s: float = 0.0) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self._cost_s = cost_s
        self._observation = np.zeros(4, np.float32)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._steps = 0
        return self._observation, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._spend()
        self._steps += 1
        return self._observation, 1.0, False, self._steps >= EPISODE_STEPS, {}

    def _spend(self) -> None:
        if self._cost_s:
            end = time.perf_counter() + self._cost_s
            while time.perf_counter() < end:
                pass


class WaitingEnv(BusyEnv):
    """Likewise, but it only waits, as for a simulator on another machine."""

    def _spend(self) -> None:
        time.sleep(self._cost_s)
