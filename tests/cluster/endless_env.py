"""An env without an end, so that every step of every slot counts, and which takes its time."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np

STEP_S = 0.005


class EndlessEnv(gym.Env):
    """Shows noise and rewards the first action; a step takes 5 ms."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        time.sleep(STEP_S)
        return self._observation(), float(action == 0), False, False, {}

    def _observation(self) -> np.ndarray:
        return self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
